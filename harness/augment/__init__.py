"""More training rows out of those that there are: one way a file (conf/augment)."""

from harness.augment.base import Augmentation, AugmentationContext, augmented

__all__ = ["Augmentation", "AugmentationContext", "augmented"]
