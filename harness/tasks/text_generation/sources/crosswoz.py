"""CrossWOZ (Zhu et al. 2020, TACL): Chinese dialogues about a trip to Beijing; the next turn of the system is written.

The published validation dialogues train and select, the published test dialogues evaluate (the published training file
is not needed). Dialogues are never in two splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.readers.containers import unpack
from harness.data.readers.rows import data_folder
from harness.errors import HarnessError, Problems
from harness.tasks.text_generation.data import Conversation, Message
from harness.tasks.text_generation.rows import Raw
from harness.tasks.text_generation.sources.base import ReplyTask

FILES = {"train": "val.json.zip", "test": "test.json.zip"}
FOLDER = "crosswoz"
ROLES = {"usr": "user", "sys": "assistant"}
SPEAKERS = {"user": "用户\uff1a", "assistant": "系统\uff1a"}  # with a colon of full width


@dataclass(kw_only=True)
class CrossWoz(ReplyTask):
    """Replies from the history of a dialogue; slots are what the reply informs of, such as a price."""

    turns: int | None = None  # most turns of the history, the latest; null: all

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        if self.turns is not None:
            problems.whole("task.turns", self.turns)
        problems.check(
            self.validation != "kfold",
            "task.validation=kfold would put turns of a dialogue into several folds: use task.validation=split.",
        )

    def read(self) -> tuple[dict[str, Raw], str]:
        """Read the dialogues of $HARNESS_DATA/crosswoz."""
        folder = data_folder(FOLDER)
        if folder is None:
            raise HarnessError(
                f"The data of task {self.name} are not here. Set HARNESS_DATA to a folder that holds "
                f"{FOLDER}/val.json.zip and test.json.zip of https://github.com/thu-coai/CrossWOZ (data/crosswoz)."
            )
        dialogues = {}
        for split, name in FILES.items():
            try:
                content, _ = unpack((folder / name).read_bytes(), name)
                dialogues[split] = json.loads(content)
            except (OSError, ValueError) as error:
                raise HarnessError(f"{FOLDER}/{name} cannot be read: {error}.") from error
        names = sorted(dialogues["train"])
        order = np.random.default_rng(self.split_seed).permutation(len(names))
        held = {names[place] for place in order[: max(round(len(names) * self.validation_fraction), 1)]}
        parts = {
            "train": {name: each for name, each in dialogues["train"].items() if name not in held},
            "validation": {name: each for name, each in dialogues["train"].items() if name in held},
            "test": dialogues["test"],
        }
        return {split: self._raw(each) for split, each in parts.items()}, f"{FOLDER}/{FILES['train']}"

    def _raw(self, dialogues: Mapping[str, Any]) -> Raw:
        raw, number = Raw(), 0
        for dialogue in dialogues.values():
            history: list[Message] = []
            for turn in dialogue["messages"]:
                message = {"role": ROLES[turn["role"]], "content": str(turn["content"]).strip()}
                if message["role"] == "assistant" and message["content"] and history:
                    row = Conversation(
                        self._prompt(history), message["content"], slots=_slots(turn, message["content"])
                    )
                    raw.rows.append(row)
                    raw.references.append((message["content"],))
                    raw.ids.append(number)
                    number += 1
                history.append(message)
        return raw

    def _prompt(self, history: list[Message]) -> str | tuple[Message, ...]:
        kept = history if self.turns is None else history[-self.turns :]
        if self.chat:
            first = next(place for place, message in enumerate(kept) if message["role"] == "user")
            return tuple(kept[first:])
        lines = [f"{SPEAKERS[each['role']]}{each['content']}" for each in kept]
        return "\n".join([*lines, SPEAKERS["assistant"]])


def _slots(turn: Mapping[str, Any], text: str) -> tuple[str, ...]:
    """Return the values that a turn informs of, as far as its text has them word by word."""
    values = (str(value).strip() for intent, _, _, value in turn.get("dialog_act", ()) if intent == "Inform")
    return tuple(dict.fromkeys(value for value in values if value and value != "none" and value in text))
