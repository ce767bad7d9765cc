"""A cache in the memory of a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class ProcessCache:
    """The last few values by key, least recently used first out."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Give the value of a key; make it if there is none."""
        if key not in self.values:
            value = make()  # a failure stores nothing
            self.values[key] = value
            if len(self.values) > self.size:
                self.values.popitem(last=False)
        self.values.move_to_end(key)
        kept: T = self.values[key]
        return kept
