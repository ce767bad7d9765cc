"""Augmentation: additional training rows made from the existing ones, one augmentation per file (conf/augment)."""

from harness.augment.base import Augmentation, AugmentationContext, augmented

__all__ = ["Augmentation", "AugmentationContext", "augmented"]
