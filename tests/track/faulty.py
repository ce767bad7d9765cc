"""Trackers that go wrong."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.track import Tracker


@dataclass
class Faulty(Tracker):
    """Goes wrong as `how` says: hangs | raises | dies."""

    name: str = "faulty"
    how: str = "hangs"
    wait_seconds: float = 2.0

    def open(self, study: Path) -> None:
        if self.how == "raises":
            raise ConnectionError("nobody there")
        if self.how == "dies":
            os._exit(7)
        time.sleep(600)
