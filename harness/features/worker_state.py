"""What a worker process keeps in memory between runs: data, tokens, tokenizers, backbones, features and probes.

All caches are keyed by content digests except that of data, whose file may change: see `WorkerState.data`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cache.process_cache import ProcessCache
from harness.config.instantiate import build
from harness.data.dataset import Dataset


@dataclass
class WorkerState:
    """The caches of a process. Sizes bound memory: tokens and features are memory-mapped files, backbones are not."""

    datasets: ProcessCache = field(default_factory=lambda: ProcessCache(4))
    backbones: ProcessCache = field(default_factory=lambda: ProcessCache(2))
    tokenizers: ProcessCache = field(default_factory=lambda: ProcessCache(4))
    tokens: ProcessCache = field(default_factory=lambda: ProcessCache(64))
    features: ProcessCache = field(default_factory=lambda: ProcessCache(64))
    states: ProcessCache = field(default_factory=lambda: ProcessCache(16))
    probes: ProcessCache = field(default_factory=lambda: ProcessCache(64))

    def data(self, node: dict[str, Any], packages: Sequence[str], fresh: bool = False) -> Dataset:
        """Load a task's data, or return the data loaded before.

        Args:
            node: the task's configuration.
            packages: trusted packages besides this program.
            fresh: load again; used when a run's signature shows that the data in memory is out of date.
        """
        key = (json.dumps(node, sort_keys=True, default=str), os.environ.get("HARNESS_DATA"), str(Path.cwd()))
        if fresh:
            self.datasets.values.pop(key, None)

        def load() -> Dataset:
            data: Dataset = build(node, packages).load()
            return data

        return self.datasets.get(key, load)


WORKER_STATE = WorkerState()
