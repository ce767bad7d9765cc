"""What became of each entity: found, with wrong ends or type, or missed; and predicted entities that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.tasks.token_tagging.entities import Entity, entities

# What became of an entity of the data, best first. `ends`: one of its type overlaps it; `type`: one of another type has
# the same words; `both`: one of another type overlaps it.
OUTCOMES = ("found", "ends", "type", "both", "missed")


@dataclass
class Outcomes:
    """Counts of entities over rows and runs.

    Attributes:
        true: {(type, outcome): entities of the data}.
        predicted: {type: predicted entities}.
        spurious: {type: predicted entities that overlap none of the data}.
    """

    true: Counter[tuple[str, str]] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    spurious: Counter[str] = field(default_factory=Counter)

    def add(self, true: Sequence[str], seen: Sequence[str], strict: bool) -> None:
        """Count the entities of a row."""
        ones, others = entities(tuple(true), strict), entities(tuple(seen), strict)
        for one in ones:
            self.true[one.type, outcome(one, others)] += 1
        for other in others:
            self.predicted[other.type] += 1
            self.spurious[other.type] += not any(_meet(one, other) for one in ones)

    @property
    def types(self) -> list[str]:
        """Return the types of the data, the most frequent first, then those that are only predicted."""
        totals = Counter[str]()
        for (name, _), number in self.true.items():
            totals[name] += number
        known = sorted(totals, key=lambda name: (-totals[name], name))
        return known + sorted(set(self.predicted) - set(known))

    def total(self, name: str) -> int:
        """Return the number of entities of a type in the data."""
        return sum(self.true[name, each] for each in OUTCOMES)

    def rates(self, name: str) -> tuple[float, float, float]:
        """Return precision, recall and F1 of a type; 0 without predictions or entities."""
        right, seen, true = self.true[name, "found"], self.predicted[name], self.total(name)
        return right / max(seen, 1), right / max(true, 1), 2 * right / max(seen + true, 1)


def outcome(one: Entity, others: Sequence[Entity]) -> str:
    """Return what became of an entity of the data, given the predicted ones."""
    if one in others:
        return "found"
    met = [other for other in others if _meet(one, other)]
    if any(other.type == one.type for other in met):
        return "ends"
    if any(other[1:] == one[1:] for other in met):
        return "type"
    return "both" if met else "missed"


def _meet(one: Entity, other: Entity) -> bool:
    return one.start < other.end and other.start < one.end
