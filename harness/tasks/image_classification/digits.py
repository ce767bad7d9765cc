"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, which come with scikit-learn (Alpaydin and Kaynak 1998)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.tasks.image_classification.settings import ImageTask
from harness.tasks.image_classification.sources import ImageTable, of_arrays


@dataclass(kw_only=True)
class Digits(ImageTask):
    """Handwritten digits of UCI's optical recognition set, its test part."""

    def tables(self) -> tuple[dict[str, ImageTable], str]:
        """Return all images, without given splits."""
        from sklearn.datasets import load_digits

        found = load_digits()
        images = np.rint(found.images * 255 / 16).astype(np.uint8)  # 17 levels
        return {"train": of_arrays(images, found.target, "digits")}, "scikit-learn's digits"
