"""Members of the training loop that share one pass through one frozen backbone."""

from harness.training.fused.group import Crew, crews, share

__all__ = ["Crew", "crews", "share"]
