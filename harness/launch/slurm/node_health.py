"""Nodes that end every job at once are avoided."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from harness.records.files import write_json


class Nodes:
    """How the nodes of a cluster treat a study's jobs.

    Args:
        path: where it is remembered.
        limit: jobs in a row that die before a run begins.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.limit = limit
        self.path = path
        self._failures: dict[str, int] = {}
        with suppress(OSError, ValueError):
            self._failures = json.loads(path.read_text(encoding="utf-8"))

    def failed(self, node: str) -> bool:
        """Note a job that died at once; True if the node is avoided from now on."""
        if not node:
            return False
        self._failures[node] = self._failures.get(node, 0) + 1
        write_json(self.path, self._failures)
        return self._failures[node] == self.limit

    def worked(self, node: str) -> None:
        """Note a run that ended well there."""
        if node in self._failures and self._failures[node] < self.limit:
            del self._failures[node]
            write_json(self.path, self._failures)

    def excluded(self, given: str | None) -> str | None:
        """What sbatch is to exclude: what the profile says and the bad nodes."""
        bad = [node for node, failures in sorted(self._failures.items()) if failures >= self.limit]
        return ",".join([*([given] if given else []), *bad]) or None
