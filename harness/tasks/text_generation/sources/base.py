"""What tasks of text generation without columns of the user's share."""

from __future__ import annotations

from dataclasses import dataclass

from harness.data.text_values import check_text
from harness.errors import Problems
from harness.tasks.text_generation.assembly import assemble
from harness.tasks.text_generation.data import OF_CHOICES, GenerationData, Writing
from harness.tasks.text_generation.rows import Raw
from harness.tasks.text_generation.settings import GenerationSettings, template_file


@dataclass(kw_only=True)
class ReplyTask(GenerationSettings):
    """A task of replies to messages. Subclasses define the source of its rows."""

    chat: bool = True  # whether rows are conversations in the model's chat template, or plain texts
    chat_template: str | None = None  # file of a Jinja chat template in place of the tokenizer's

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(isinstance(self.chat, bool), f"task.chat must be true or false, not {self.chat!r}.")
        problems.check(
            self.metric not in OF_CHOICES,
            f"task.metric={self.metric} compares the likelihoods of choices, and replies are written: use "
            "task.metric=slot_accuracy or loss.",
        )
        check_text(problems, "task.chat_template", self.chat_template, "one text", optional=True)

    def load(self) -> GenerationData:
        """Read, check and split the data. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        template = None if self.chat_template is None else template_file(self.chat_template)
        writing = Writing(chat=self.chat, chat_template=template, train_on=self.train_on, decoding=self.decoding())
        raws, source = self.read()
        return assemble(self, raws, source, writing)

    def read(self) -> tuple[dict[str, Raw], str]:
        """Return the rows by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: the rows are not available.
        """
        raise NotImplementedError
