"""Costs of the parts of a run. Each part returns its own; `Costs.merged` is the one place where they are joined."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.api.cost import parts


class Costs(dict[str, Any]):
    """Costs by name, as in the record of a run."""

    def add(self, name: str, amount: float) -> None:
        """Add to a cost."""
        self[name] = self.get(name, 0) + amount

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's seconds to the cost `<name>_seconds`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(f"{name}_seconds", time.perf_counter() - start)

    def merged(self, *others: Costs) -> Costs:
        """Return the costs of several parts, joined as `Cost.parts` says."""
        joined = Costs(self)
        for costs in others:
            for name, value in costs.items():
                rule = parts(name)
                if rule == "max":
                    joined[name] = max(joined.get(name, value), value)
                elif rule == "sum":
                    joined.add(name, value)
                else:
                    joined[name] = value
        return joined

    def with_speed(self) -> Costs:
        """Return the costs with the training speed that follows from seconds, samples and tokens."""
        if "samples" not in self:
            return self
        seconds = self.get("train_seconds")
        speeds = {
            f"{name}_per_second": self[name] / seconds if seconds else None
            for name in ("samples", "tokens")
            if name in self
        }
        return self.merged(Costs(speeds))
