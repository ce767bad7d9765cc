"""Construction of a data set of images: what cannot be read, then as for texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from harness.data.images import check_images
from harness.tasks.image_classification.data import ImageData
from harness.tasks.image_classification.sources import IMAGES, ImageTable
from harness.tasks.labeled_files import checked_files
from harness.tasks.text_classification.assembly import assemble
from harness.tasks.text_classification.data import ClassificationData
from harness.tasks.text_classification.settings import ClassificationSettings

TEXT_FACTS = ("words_mean", "words_p95")  # facts about texts, which images do not have
VARIED = 4.0  # ratio of the largest to the smallest height from which on sizes are told


def assemble_images(
    task: ClassificationSettings,
    tables: Mapping[str, ImageTable],
    source: str,
    label_names: Mapping[str, str],
    skip: bool,
) -> ImageData:
    """Check and split images by the task's settings.

    Args:
        task: the settings.
        tables: images by given split, at least `train`.
        source: name of the source, for the facts.
        label_names: {raw label: name of the class}; empty: raw labels are the names.
        skip: whether images that cannot be read are left out; else they are an error.

    Raises:
        HarnessError: images cannot be read, labels are inconsistent, or there are too few rows for the splits.
    """
    files = checked_files(task.name, tables, check_images, IMAGES.noun, label_names, skip)
    heights = [int(height) for checked, kept in files.kept.values() for height in checked.sizes[kept, 1]]
    data, notes = assemble(task, files.frames, source), files.notes
    if max(heights) >= VARIED * min(heights):
        notes.append(
            f"Images are {min(heights)} to {max(heights)} pixels high; all are resized as the model reads them."
        )
    kept_facts = {key: value for key, value in data.facts.items() if key not in TEXT_FACTS}
    more = {"height_median": int(np.median(heights))}
    same: dict[str, Any] = {each.name: getattr(data, each.name) for each in fields(ClassificationData)}
    return ImageData(
        **same | {"facts": kept_facts | more, "warnings": (*notes, *data.warnings)},
        images=files.sources, names=files.names,
    )  # fmt: skip
