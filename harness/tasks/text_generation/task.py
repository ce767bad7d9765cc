"""Text generation tasks: a text for each prompt, from files or a hub data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.readers.file_formats import FileFormat, read_table
from harness.data.readers.rows import Hub, open_hub
from harness.data.text_values import as_text, check_text, plain, shown, truth
from harness.errors import HarnessError, Problems
from harness.tasks.text_generation.assembly import assemble
from harness.tasks.text_generation.data import OF_CHOICES, OF_LIKELIHOODS, OF_SLOTS, GenerationData, Writing
from harness.tasks.text_generation.rows import Form, Raw
from harness.tasks.text_generation.settings import GenerationSettings, template_file
from harness.tasks.text_generation.templates import Template
from harness.tasks.text_source import TextSource

COLUMNS = ("prompt", "completion", "messages", "text", "choices", "slots")
TEXTS = (*COLUMNS, "doc_to_text", "doc_to_target", "system", "chat_template")
FORMS = (
    "task.prompt and task.completion (columns), task.doc_to_text and task.doc_to_target (templates), task.messages (a "
    "column of messages), or task.text (a column of plain text)"
)


@dataclass(kw_only=True)
class TextGeneration(GenerationSettings, TextSource):
    """Prompts with texts to write, from files or a hub data set; see `TextSource` for where rows come from."""

    text: str | None = None  # type: ignore[assignment]  # column of plain texts, without prompts
    prompt: str | None = None  # column
    completion: str | None = None  # column of texts, or of lists of references
    messages: str | None = None  # column of conversations: [{role, content}, ...]
    choices: str | None = None  # column of lists of texts; the likeliest is taken, instead of writing
    slots: str | None = None  # column of lists of texts that a right output contains (metrics slot_accuracy, ...)
    doc_to_text: str | None = None  # Jinja template of the prompt, such as "Question: {{question}}"
    doc_to_target: str | None = None  # Jinja template of the completion
    chat: bool = False  # prompt and completion become turns of a conversation, in the model's chat template
    system: str | None = None  # system message of these conversations
    translation: bool = False  # whether completions translate prompts, which a decoder has to be told in words
    chat_template: str | None = None  # file of a Jinja chat template in place of the tokenizer's

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.normalize_source()
        self.chat = truth(self.chat)
        for name in TEXTS:
            value = getattr(self, name)
            setattr(self, name, plain(value) if name in COLUMNS else as_text(value))

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)
        for name in TEXTS:
            check_text(problems, f"task.{name}", getattr(self, name), "one text", optional=True)
        problems.check(
            isinstance(self.translation, bool), f"task.translation must be true or false, not {self.translation!r}."
        )
        problems.check(isinstance(self.chat, bool), f"task.chat must be true or false, not {shown(self.chat)}.")
        self._check_turns(problems)

    def _check_columns(self, problems: Problems) -> None:
        pairs = (("prompt", "doc_to_text"), ("completion", "doc_to_target"))
        for column, template in pairs:
            problems.check(
                not (getattr(self, column) and getattr(self, template)),
                f"task.{column} and task.{template} both make the {column}: leave one out.",
            )
        prompt, completion = self.prompt or self.doc_to_text, self.completion or self.doc_to_target
        given = [bool(prompt or completion), bool(self.messages), bool(self.text)]
        if sum(given) != 1:
            problems.add(
                f"Task {self.name} needs {'exactly one of' if sum(given) else 'the columns of its rows'}: {FORMS}."
            )
        elif given[0] and not (prompt and completion):
            lacks = "completion" if prompt else "prompt"
            problems.add(
                f"Task {self.name} has no {lacks}: name its column with task.{lacks}, or write a template, "
                f"task.{'doc_to_target' if prompt else 'doc_to_text'}."
            )

    def _check_turns(self, problems: Problems) -> None:
        problems.check(
            self.train_on != "assistant" or bool(self.messages),
            "task.train_on=assistant trains on each turn of the assistant, and this task has no messages: use "
            "task.train_on=completion.",
        )
        problems.check(
            not self.text or (not self.chat and self.system is None),
            "task.text is plain text, without turns: leave out task.chat and task.system.",
        )
        problems.check(
            not self.text or self.metric in OF_LIKELIHOODS,
            f"task.metric={self.metric} compares outputs with references, and task.text is plain text without prompts: "
            "use task.metric=loss or perplexity.",
        )
        problems.check(
            not self.choices or not (self.messages or self.text),
            "task.choices are answers to a prompt: name it with task.prompt or task.doc_to_text.",
        )
        problems.check(
            self.metric not in OF_CHOICES or bool(self.choices),
            f"task.metric={self.metric} compares the likelihoods of choices: name their column with task.choices, or "
            "use task.metric=exact_match.",
        )
        problems.check(
            self.metric not in OF_SLOTS or bool(self.slots),
            f"task.metric={self.metric} looks for slots in outputs: name their column with task.slots, or use "
            "task.metric=exact_match.",
        )
        problems.check(
            self.system is None or self.chat,
            "task.system is the first message of a conversation: set task.chat=true, or leave it out.",
        )

    def load(self) -> GenerationData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        writing = Writing(
            chat=self.chat or self.messages is not None,
            chat_template=None if self.chat_template is None else template_file(self.chat_template),
            train_on="all" if self.text else self.train_on,
            decoding=self.decoding(),
            system=self.system,
            doc_to_text=self.doc_to_text,
        )
        raws, source = self.read()
        return replace(assemble(self, raws, source, writing), translation=self.translation)

    def form(self) -> Form:
        """Return which columns a row is made of.

        Raises:
            HarnessError: a template is none.
        """
        return Form(
            prompt=self.prompt,
            completion=self.completion,
            doc_to_text=None if self.doc_to_text is None else Template(self.doc_to_text, "task.doc_to_text"),
            doc_to_target=None if self.doc_to_target is None else Template(self.doc_to_target, "task.doc_to_target"),
            messages=self.messages,
            text=self.text,
            choices=self.choices,
            slots=self.slots,
            chat=self.chat,
            system=self.system,
            group=self.group,
        )

    def read(self) -> tuple[dict[str, Raw], str]:
        """Return the rows by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        form = self.form()
        paths, source = self.files_of_splits()
        raws: dict[str, Raw] = {}
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_rows())
            hub, source = Hub(**self.hub), self.hub_source()
            loaded, splits = open_hub(hub, self.name)
            for split, given in splits.items():
                columns = {name: list(loaded[given][name]) for name in loaded[given].column_names}
                raws[split] = form.read(columns, f"{hub.id} ({given})")
        problems = Problems()
        for split, path in paths.items():
            try:
                raws[split] = form.read(_columns(path, self.file_format()), path.name)
            except HarnessError as error:
                problems.extend(error)
        problems.raise_any()
        return raws, source

    def _no_rows(self) -> str:
        if not self.folder:
            return f"Task {self.name} needs a file of rows, task.path=FILE, and {FORMS}."
        return (
            f"The data of task {self.name} are not here. Set HARNESS_DATA to a folder that holds "
            f"{self.folder}/{(self.files or {})['train']}, or name your own file with task.path=FILE."
        )


def _columns(path: Path, how: FileFormat) -> dict[str, list[Any]]:
    table = read_table(path, how, every=True)
    if twice := sorted({name for name in table.names if table.names.count(name) > 1}):
        raise HarnessError(f"{path.name} has several columns of the name {twice[0]!r}: rename the others.")
    return dict(zip(table.names, table.columns, strict=True))
