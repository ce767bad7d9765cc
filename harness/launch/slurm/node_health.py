"""Detection of nodes on which every job fails at its start."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from harness.records.files import write_json


class Nodes:
    """Counts of failed starts by node, for one study.

    Args:
        path: file that stores the counts.
        limit: number of consecutive jobs that die before a run starts, after which the node is avoided.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.limit = limit
        self.path = path
        self._failures: dict[str, int] = {}
        with suppress(OSError, ValueError):
            self._failures = json.loads(path.read_text(encoding="utf-8"))

    def failed(self, node: str) -> bool:
        """Count a job that died at its start; return True if the node is avoided from now on."""
        if not node:
            return False
        self._failures[node] = self._failures.get(node, 0) + 1
        write_json(self.path, self._failures)
        return self._failures[node] == self.limit

    @property
    def counted(self) -> bool:
        """Whether `worked` could reset a count."""
        return any(failures < self.limit for failures in self._failures.values())

    def worked(self, *nodes: str) -> None:
        """Reset the counts of nodes on which a run succeeded, except those of nodes that are already avoided."""
        before = len(self._failures)
        for node in nodes:
            if self._failures.get(node, self.limit) < self.limit:
                del self._failures[node]
        if len(self._failures) < before:
            write_json(self.path, self._failures)

    def excluded(self, given: str | None) -> str | None:
        """Return the value of sbatch's --exclude: the profile's nodes and the bad nodes."""
        bad = [node for node, failures in sorted(self._failures.items()) if failures >= self.limit]
        return ",".join([*([given] if given else []), *bad]) or None
