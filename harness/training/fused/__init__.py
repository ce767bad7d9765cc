"""Members of the training loop that share one pass through one frozen backbone."""

from harness.training.fused.group import FusedGroup, crews, share

__all__ = ["FusedGroup", "crews", "share"]
