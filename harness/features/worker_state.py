"""What a worker process keeps between runs: tokens, backbones, features."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cache.process_cache import Store
from harness.config.instantiate import build
from harness.data.dataset import TextData


@dataclass
class Warm:
    """The stores of a process. Sizes bound memory: tokens and features are mapped files, backbones are not."""

    datasets: Store = field(default_factory=lambda: Store(4))
    backbones: Store = field(default_factory=lambda: Store(2))
    tokenizers: Store = field(default_factory=lambda: Store(4))
    tokens: Store = field(default_factory=lambda: Store(64))
    features: Store = field(default_factory=lambda: Store(64))
    states: Store = field(default_factory=lambda: Store(16))
    probes: Store = field(default_factory=lambda: Store(64))

    def data(self, node: dict[str, Any], packages: Sequence[str], fresh: bool = False) -> TextData:
        """Load a task's data, or give what was loaded before.

        Args:
            node: the task's configuration.
            packages: trusted besides our own.
            fresh: load anew; asked for when a run's signature shows that the data is not what the process remembers.
        """
        key = (json.dumps(node, sort_keys=True, default=str), os.environ.get("HARNESS_DATA"), str(Path.cwd()))
        if fresh:
            self.datasets.values.pop(key, None)

        def load() -> TextData:
            data: TextData = build(node, packages).load()
            return data

        return self.datasets.get(key, load)


WARM = Warm()
