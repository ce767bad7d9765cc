"""In-memory LRU cache of a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class ProcessCache:
    """The most recently used values by key; the least recently used is evicted first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; compute it with `make` if it is missing."""
        if key not in self.values:
            value = make()  # a failure stores nothing
            self.values[key] = value
            if len(self.values) > self.size:
                self.values.popitem(last=False)
        self.values.move_to_end(key)
        kept: T = self.values[key]
        return kept
