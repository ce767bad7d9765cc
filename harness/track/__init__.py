"""Trackers: W&B, TensorBoard. Each follows a study's files from a process of its own, so that no run can notice it."""

from harness.track.base import Tracked, Tracker
from harness.track.processes import Following

__all__ = ["Following", "Tracked", "Tracker"]
