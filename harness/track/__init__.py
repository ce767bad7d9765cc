"""Trackers: W&B and TensorBoard. Each reads a study's files in its own process, so that it cannot affect the runs."""

from harness.track.base import Tracked, Tracker
from harness.track.processes import Following

__all__ = ["Following", "Tracked", "Tracker"]
