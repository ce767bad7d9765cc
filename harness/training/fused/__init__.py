"""Fused training: sessions that share one forward and backward pass through a frozen backbone."""

from harness.training.fused.group import FusedGroup, fused_groups, share

__all__ = ["FusedGroup", "fused_groups", "share"]
