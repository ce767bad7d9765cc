"""Fused training: sessions that share one forward and backward pass through a frozen backbone."""

from harness.training.fused.group import FusedGroup, crews, share

__all__ = ["FusedGroup", "crews", "share"]
