"""Pretrained backbones: where they come from (`source`), how they are loaded and pooled (`classifier`)."""

from harness.models.pretrained import PretrainedModel, ResolvedModel

__all__ = ["PretrainedModel", "ResolvedModel"]
