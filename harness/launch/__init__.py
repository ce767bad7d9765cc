"""Launchers: execute run batches inline, in a pool of warm local processes, or as jobs of a Slurm cluster."""

from harness.launch.base import Job, Launcher, Outcome, use_threads
from harness.launch.factory import begin, make_launcher

__all__ = ["Job", "Launcher", "Outcome", "begin", "make_launcher", "use_threads"]
