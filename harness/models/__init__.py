"""Pretrained backbones: their files (`pretrained`), loading (`loading`), pooling and head (`classifier`)."""

from harness.models.pretrained import PretrainedModel, ResolvedModel

__all__ = ["PretrainedModel", "ResolvedModel"]
