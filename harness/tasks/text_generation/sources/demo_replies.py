"""The built-in demo of replies: messages to an online shop, and what its policy says to them; needs no download.

The policy is the system message of every row, so a model can follow it without training. A reply has slots, such as the
number of the order and how many days are left, which `slot_accuracy` looks for.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.data.readers.rows import SPLITS
from harness.errors import Problems
from harness.tasks.text_generation.data import Conversation, Message
from harness.tasks.text_generation.rows import Raw
from harness.tasks.text_generation.sources.base import ReplyTask

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
MOST = 5000  # rows of a split: above, the generator would look long for new messages


@dataclass(kw_only=True)
class DemoReplies(ReplyTask):
    """Generated messages with replies. The same fields give the same rows on every machine and Python version."""

    train_messages: int = 400
    validation_messages: int = 60
    test_messages: int = 120
    data_seed: int = 0  # seed of the messages

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name in ("train_messages", "validation_messages", "test_messages"):
            value = getattr(self, name)
            holds = isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MOST
            problems.check(holds, f"task.{name} must be a whole number from 2 to {MOST}, not {value!r}.")
        problems.check(
            isinstance(self.data_seed, int) and not isinstance(self.data_seed, bool),
            f"task.data_seed must be a whole number, not {self.data_seed!r}.",
        )

    def read(self) -> tuple[dict[str, Raw], str]:
        """Generate the three splits."""
        material = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
        counts = dict(zip(SPLITS, (self.train_messages, self.validation_messages, self.test_messages), strict=True))
        seen: set[str] = set()
        # Training rows come last: messages are unique, and test rows must not depend on the number of training rows.
        raws = {split: self._split(split, counts[split], material, seen) for split in reversed(SPLITS)}
        return {split: raws[split] for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _split(self, split: str, count: int, material: Mapping[str, Any], seen: set[str]) -> Raw:
        rng = random.Random(f"{self.data_seed} {split}")  # strings are seeded by SHA-512, not by hash()
        raw, cases = Raw(), list(material["cases"].values())
        while len(raw) < count:
            case = cases[len(raw) % len(cases)]
            values = _values(rng, material["values"])
            parts = (_pick(rng, material["openers"]), _pick(rng, case["messages"]), _pick(rng, material["closers"]))
            message = " ".join(part for part in parts if part).format(**values)
            if message in seen:
                continue
            seen.add(message)
            reply = case["reply"].format(**values)
            slots = tuple(slot.format(**values) for slot in case["slots"])
            raw.rows.append(Conversation(self._prompt(material["policy"], message), reply, slots=slots))
            raw.references.append((reply,))
            raw.ids.append(len(raw.ids))
        return raw

    def _prompt(self, policy: str, message: str) -> str | tuple[Message, ...]:
        if self.chat:
            return ({"role": "system", "content": policy}, {"role": "user", "content": message})
        return f"{policy}\n\nCustomer: {message}\nReply: "


def _values(rng: random.Random, material: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Draw the values of a message, and what follows from them by the policy."""
    drawn = {name: _pick(rng, options) for name, options in material.items()}
    cents, small = _whole(rng, 550, 29_999), _whole(rng, 500, 4_999)
    early, old, young, short, day = (
        _whole(rng, 2, 28), _whole(rng, 26, 60), _whole(rng, 2, 22), _whole(rng, 2, 8), _whole(rng, 0, 4)
    )  # fmt: skip
    return drawn | {
        "order": f"{'ABCDEFGH'[_whole(rng, 0, 7)]}{_whole(rng, 1000, 9999)}",
        "amount": _euros(cents), "points": cents // 100, "small": _euros(small), "total": _euros(small + 490),
        "large": _euros(_whole(rng, 5_000, 30_000)), "early": early, "left": 30 - early, "late": _whole(rng, 31, 90),
        "young": young, "rest": 24 - young, "old": old, "over": old - 24, "short": short, "wait": 11 - short,
        "long": _whole(rng, 11, 30), "day": DAYS[day], "next_day": DAYS[(day + 1) % 5],
        "third_day": DAYS[(day + 3) % 5],
    }  # fmt: skip


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _whole(rng: random.Random, low: int, high: int) -> int:
    # random() is the only method whose sequence Python guarantees across versions.
    return low + int(rng.random() * (high - low + 1))


def _pick(rng: random.Random, options: Sequence[Any]) -> Any:
    return options[int(rng.random() * len(options))]
