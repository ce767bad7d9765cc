"""Images for prediction, and what is answered for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.images import FileImage, ReadyImage, check_images
from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.records.files import atomic
from harness.tasks.image_classification.serving import example_image
from harness.tasks.object_detection.data import NOTHING, ObjectSplit, object_split
from harness.tasks.object_detection.matching import Found

COCO = ".json"  # suffix of files of COCO's results

__all__ = ["asked_split", "example_image", "listed", "write_coco"]


def asked_split(paths: Sequence[Any]) -> ObjectSplit:
    """Make a split of images without objects, by their paths, or of images that are decoded.

    Raises:
        HarnessError: some cannot be read.
    """
    if ready := [each for each in paths if isinstance(each, ReadyImage)]:
        sizes = np.array([each.size for each in ready], dtype=np.int64)
        return object_split("predict", ready, [NOTHING] * len(ready), np.arange(len(ready)), sizes)  # type: ignore[arg-type]  # images, or what names them
    checked = check_images([FileImage(Path(each)) for each in paths])
    if checked.bad:
        shown = several([f"{paths[row]} ({why})" for row, why in checked.bad.items()])
        raise HarnessError(f"{len(checked.bad)} of {len(paths)} images cannot be read: {shown}. Mend or remove them.")
    rows = np.arange(len(paths))
    return object_split("predict", [str(each) for each in paths], [NOTHING] * len(paths), rows, checked.sizes)


def listed(found: Found, labels: Sequence[str], least: float) -> list[dict[str, Any]]:
    """Return the boxes with at least a score: label, score, and box: left, top, right, bottom in pixels."""
    return [
        {"label": labels[label], "score": round(score, 6), "box": [round(side, 2) for side in box]}
        for box, label, score in zip(*(each.tolist() for each in found), strict=True)
        if score >= least
    ]


def write_coco(file: Path, answers: Sequence[Sequence[Mapping[str, Any]]], labels: Sequence[str]) -> bool:
    """Write COCO's list of results, if the file's suffix says so; return whether it did.

    Images and classes are counted from 1, in the order of the input and of the model's classes.

    Raises:
        HarnessError: the file cannot be written.
    """
    if file.suffix.lower() != COCO:
        return False
    places = {label: place for place, label in enumerate(labels, 1)}
    results = []
    for row, answer in enumerate(answers, 1):
        for each in answer:
            left, top, right, bottom = each["box"]
            box = [left, top, round(right - left, 2), round(bottom - top, 2)]
            results.append({"image_id": row, "category_id": places[each["label"]], "bbox": box, "score": each["score"]})
    try:
        with atomic(file) as temporary:
            temporary.write_text(json.dumps(results), encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{file} cannot be written: {error}.") from error
    return True
