"""Conditions on rows, as written in a report definition: `method in lora, full`."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.records.files import load_yaml

_CONDITION = re.compile(r"\s*([\w.+/-]+)\s*(==|!=|<=|>=|<|>|\bnot in\b|\bin\b|\blike\b)\s*(.+?)\s*", re.DOTALL)
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A condition on a row: `method in lora, full`, `task.shots >= 5`, `cell like *minilm*`.

    Attributes:
        name: name of a column.
        sign: == != < <= > >= in, not in, like.
        value: number or text; for `in` and `not in` a list of them.
    """

    name: str
    sign: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse a condition.

        Raises:
            HarnessError: the text is not a condition.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise HarnessError(
                f"rows: {text!r} is no condition. Write `<field> <sign> <value>` with a sign of ==, !=, <, <=, >, >=, "
                "in, not in, like; e.g. `method in lora, full` or `task.shots >= 5`."
            )
        name, sign, value = found.groups()
        if sign.endswith("in"):
            inside = value if value.startswith("[") else f"[{value}]"
            return cls(name, sign, [_scalar(each) for each in inside[1:].rstrip("]").split(",")])
        return cls(name, sign, _scalar(value))

    def holds(self, known: Any) -> bool:
        """Return whether a column's value meets the condition; an unknown value meets only `!=` and `not in`."""
        if self.sign in ("!=", "not in"):
            return not self._equal(known)
        if known is None:
            return False
        if self.sign in ORDER:
            return ORDER[self.sign](known, self.value)
        if self.sign == "like":
            return fnmatch.fnmatchcase(str(known), str(self.value))
        return self._equal(known)

    def _equal(self, known: Any) -> bool:
        wanted = self.value if isinstance(self.value, list) else [self.value]
        return any(known == each or str(known) == str(each) for each in wanted)


def _scalar(text: str) -> Any:
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return text.strip()
    return value if isinstance(value, str | int | float | bool) else text.strip()
