"""Pretrained backbones: their files (`pretrained`), loading (`loading`), pooling and head (`network`)."""

from harness.models.pretrained import PretrainedModel, ResolvedModel

__all__ = ["PretrainedModel", "ResolvedModel"]
