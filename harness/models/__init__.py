"""Pretrained backbones: where they come from (`source`), how they are loaded and pooled (`classifier`)."""

from harness.models.source import Model, ResolvedModel

__all__ = ["Model", "ResolvedModel"]
