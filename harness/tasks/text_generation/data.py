"""A loaded data set of prompts and texts to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from harness.api.metric import Metric
from harness.data.dataset import Dataset, Split
from harness.errors import Problems
from harness.records.signature import digest
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.model_checks import (
    check_chat_template,
    check_end_token,
    check_room,
    check_translates,
)

Message = dict[str, str]  # {role, content}
# Predictions. nll: sum of the negative log likelihoods of the reference's tokens; tokens: their number; text: what the
# model wrote, None for a row for which it wrote nothing; written: number of tokens of that; cut: 1 if it was cut at the
# most tokens; choices: pairs of a choice and its log likelihood, None for a row without choices.
WRITTEN = np.dtype([("nll", "f8"), ("tokens", "f8"), ("text", "O"), ("written", "f8"), ("cut", "f8"), ("choices", "O")])
OF_CHOICES = ("acc", "acc_norm")  # metrics of multiple choice
OF_SLOTS = ("slot_accuracy", "joint_slot_accuracy")  # metrics of rows with slots
OF_LIKELIHOODS = ("loss", "perplexity")  # metrics that need no written texts
TRAIN_ON = ("completion", "assistant", "all")


@dataclass(frozen=True)
class Conversation:
    """A row: what a model reads, and what it is to write.

    Attributes:
        prompt: a text, or messages.
        completion: the text to write; the content of the next message after messages.
        choices: texts of which the likeliest is taken, instead of writing one; () to write.
        slots: texts that a right output contains, such as an order number.
    """

    prompt: str | tuple[Message, ...]
    completion: str
    choices: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The prompt as one text, for people."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.prompt)

    @property
    def content(self) -> list[Any]:
        """JSON-able content, for digests."""
        prompt = self.prompt if isinstance(self.prompt, str) else list(self.prompt)
        return [prompt, self.completion, *self.choices, *([{"slots": self.slots}] if self.slots else [])]


class References(tuple[str, ...]):
    """The texts that a row's output is compared with, and what else metrics know of the row.

    Attributes:
        prompt: what the model read, as one text.
        slots: see `Conversation`.
    """

    prompt: str
    slots: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], row: Conversation) -> References:
        """Make the references of a row."""
        found = cls(texts)
        found.prompt, found.slots = row.shown, row.slots
        return found


@dataclass(frozen=True)
class GenerationSplit(Split):
    """Rows of text generation: `texts` are prompts for people, `targets` (n,) `References`.

    Attributes:
        rows: n rows as models read them; the completion is the first reference.
    """

    rows: tuple[Conversation, ...] = ()

    def take(self, rows: npt.NDArray[np.int64], name: str) -> GenerationSplit:
        """Return a split of some rows, under another name."""
        return GenerationSplit(
            name, [self.texts[row] for row in rows], None, self.targets[rows], self.ids[rows], self.augmentation,
            None if self.groups is None else self.groups[rows], tuple(self.rows[row] for row in rows),
        )  # fmt: skip


def split_of(
    name: str,
    rows: Sequence[Conversation],
    references: Sequence[tuple[str, ...]],
    ids: Sequence[int],
    groups: Sequence[str] = (),
) -> GenerationSplit:
    """Make a split.

    Args:
        name: see `Split`.
        rows: n rows.
        references: texts that each row's output is compared with.
        ids: of the rows.
        groups: of the rows; () if the task names none.
    """
    targets = np.empty(len(rows), dtype=object)
    targets[:] = [References.of(texts, row) for texts, row in zip(references, rows, strict=True)]
    return GenerationSplit(
        name, [row.shown for row in rows], None, targets, np.array(ids, dtype=np.int64), rows=tuple(rows),
        groups=np.array(groups, dtype=object) if groups else None,
    )  # fmt: skip


@dataclass(frozen=True)
class Writing:
    """How rows become tokens and outputs become texts.

    Attributes:
        chat: whether prompt and completion are turns of a conversation, in the model's chat template.
        chat_template: template in place of the tokenizer's; None: the tokenizer's.
        train_on: completion (the last turn) | assistant (every turn of the assistant) | all (every token).
        decoding: how outputs are chosen.
        system: system message of prompts that are given as texts, in prediction; None: none.
        doc_to_text: template that makes a prompt of such a text, if it names one column; None: the text is the prompt.
        examples: rows that stand as examples in every prompt.
    """

    chat: bool = False
    chat_template: str | None = None
    train_on: str = "completion"
    decoding: Decoding = field(default_factory=Decoding)
    system: str | None = None
    doc_to_text: str | None = None
    examples: tuple[Conversation, ...] = ()

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Writing:
        """Make the settings of a saved model."""
        examples = tuple(
            Conversation(
                each["prompt"] if isinstance(each["prompt"], str) else tuple(each["prompt"]), each["completion"]
            )
            for each in stored["examples"]
        )
        own = stored["decoding"]
        decoding = Decoding(**{**own, "stop": tuple(own["stop"])})
        return cls(**{**stored, "decoding": decoding, "examples": examples})


@dataclass(frozen=True)
class Retained:
    """What is measured before and after training: the loss of `texts`, or else the accuracy of `questions`.

    Attributes:
        texts: general texts.
        questions: rows with choices, of which the completion is right.
    """

    texts: tuple[str, ...] = ()
    questions: tuple[Conversation, ...] = ()

    @property
    def digest(self) -> str:
        """Hex digest of the content."""
        return digest(["retained", list(self.texts), [row.content for row in self.questions]])

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs that runs record (`harness.api.cost.COSTS`)."""
        return ("retained_loss", "forgetting") if self.texts else ("retained_accuracy", "forgotten_accuracy")


@dataclass(frozen=True, kw_only=True)
class GenerationData(Dataset):
    """A data set of text generation.

    Attributes:
        writing: see `Writing`.
        metric: name of the metric that selects.
        retained: what is measured before and after training; None: nothing.
        judges: metrics of the user's own, by name.
        translation: whether completions translate prompts.
    """

    family: ClassVar[str] = "text_generation"

    writing: Writing = field(default_factory=Writing)
    metric: str = "loss"
    retained: Retained | None = None
    judges: Mapping[str, Metric] = field(default_factory=dict)
    translation: bool = False

    def with_examples(self, rows: Split) -> Self:
        """Return the data with some training rows as examples in every prompt."""
        assert isinstance(rows, GenerationSplit)
        return replace(self, writing=replace(self.writing, examples=rows.rows))

    def check_model(self, name: str, directory: Path, problems: Problems) -> None:
        """Report a model without the chat template that the rows need, an end token, or room for them."""
        if self.writing.chat and self.writing.chat_template is None:
            check_chat_template(name, directory, problems)
        check_end_token(name, directory, problems)
        if self.translation and self.writing.doc_to_text is None and self.writing.system is None:
            check_translates(name, directory, problems)
        rows = [row for split in (self.validation, self.test) for row in getattr(split, "rows", ())]
        prompts = [row.shown for row in rows if isinstance(row.prompt, str) and row.prompt]
        prompts += [
            max((each["content"] for each in row.prompt), key=len) for row in rows if not isinstance(row.prompt, str)
        ]
        writes = any(row.prompt and not row.choices for row in rows)
        check_room(name, directory, prompts, self.writing.decoding.max_new_tokens if writes else 0, problems)
