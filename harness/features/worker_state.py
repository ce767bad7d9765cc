"""What a worker process keeps between runs: tokens, backbones, features."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cache.process_cache import ProcessCache
from harness.config.instantiate import build
from harness.data.dataset import TextData


@dataclass
class WorkerState:
    """The stores of a process. Sizes bound memory: tokens and features are mapped files, backbones are not."""

    datasets: ProcessCache = field(default_factory=lambda: ProcessCache(4))
    backbones: ProcessCache = field(default_factory=lambda: ProcessCache(2))
    tokenizers: ProcessCache = field(default_factory=lambda: ProcessCache(4))
    tokens: ProcessCache = field(default_factory=lambda: ProcessCache(64))
    features: ProcessCache = field(default_factory=lambda: ProcessCache(64))
    states: ProcessCache = field(default_factory=lambda: ProcessCache(16))
    probes: ProcessCache = field(default_factory=lambda: ProcessCache(64))

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


WORKER_STATE = WorkerState()
