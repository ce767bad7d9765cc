"""Members of the training loop that share one pass through one frozen backbone."""

from harness.packed.crew import Crew, crews, share

__all__ = ["Crew", "crews", "share"]
