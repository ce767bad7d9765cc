"""The metrics of detection, by faster-coco-eval. Imports no torch.

Targets (n,) are `Objects`, predictions (n,) records (`DETECTED`). The score of an image is the metric plus the image's
centered influence on it, see `harness.tasks.object_detection.matching`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api.metric import Direction, Metric, Predictions, RowScores, Targets, Undefined
from harness.tasks.object_detection.data import Objects
from harness.tasks.object_detection.matching import MOST, Found, average_precision, match

# A prediction: the loss of the image, and the boxes that were found (`Found`).
DETECTED = np.dtype([("loss", "f8"), ("found", "O")])
OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # COCO's thresholds of intersection over union


def by_class(targets: Sequence[Objects], found: Sequence[Found], thresholds: Sequence[float]) -> dict[int, float]:
    """Return COCO's average precision of each class that has objects, mean over thresholds.

    Raises:
        Undefined: no image has an object.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    annotations, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for row, (objects, seen) in enumerate(zip(targets, found, strict=True), 1):
        for box, label, ignored in zip(objects.boxes.tolist(), objects.classes.tolist(), objects.ignored, strict=True):
            annotations.append(_annotation(row, label, box) | {"id": len(annotations) + 1, "iscrowd": int(ignored)})
        for box, label, score in zip(seen.boxes.tolist(), seen.classes.tolist(), seen.scores.tolist(), strict=True):
            results.append(_annotation(row, label, box) | {"score": score})
    known = sorted({each["category_id"] for each in annotations if not each["iscrowd"]})
    if not known:
        raise Undefined("no image has an object.")
    classes = [{"id": label, "name": str(label)} for label in {each["category_id"] for each in annotations + results}]
    images = [{"id": row + 1, "width": 1, "height": 1} for row in range(len(targets))]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "categories": classes, "annotations": annotations}
        truth.createIndex()
        judged = COCOeval_faster(truth, truth.loadRes(results), "bbox")
        judged.params.iouThrs = np.array(thresholds)
        judged.params.maxDets, judged.params.catIds = [MOST], known
        judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
        judged.evaluate()
        judged.accumulate()
    precision = np.asarray(judged.eval["precision"])[:, :, :, 0, 0]  # (thresholds, recalls, classes)
    return {label: float(precision[:, :, place].mean()) for place, label in enumerate(known)}


def _annotation(row: int, label: int, box: list[float]) -> dict[str, Any]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {"image_id": row, "category_id": label, "bbox": [left, top, width, height], "area": width * height}


def influences(
    targets: Sequence[Objects], found: Sequence[Found], thresholds: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return n x the derivatives (n,) of the mean average precision by the weights of images; they sum to 0."""
    known = np.unique(np.concatenate([objects.classes[~objects.ignored] for objects in targets]))
    slopes = np.zeros(len(targets))
    for label in known.tolist():
        matched = match(targets, found, label, thresholds)
        for place in range(len(thresholds)):
            slopes += average_precision(matched, place)[1]
    values: npt.NDArray[np.float64] = slopes * len(targets) / (len(known) * len(thresholds))
    centered: npt.NDArray[np.float64] = values - values.mean()
    return centered


def _precision(name: str, short: str, thresholds: Sequence[float]) -> Metric:
    def value(targets: Targets, predictions: Predictions) -> float:
        return float(np.mean(list(by_class(list(targets), list(predictions["found"]), thresholds).values())))

    def per_row(targets: Targets, predictions: Predictions) -> RowScores:
        scores: RowScores = value(targets, predictions) + influences(
            list(targets), list(predictions["found"]), thresholds
        )
        return scores

    return Metric(name, short, value, per_row, Direction.MAXIMIZE, "{:.2%}", 0.0, 1.0)


def _losses(targets: Targets, predictions: Predictions) -> RowScores:
    scores: RowScores = predictions["loss"]
    return scores


METRICS = {
    metric.name: metric
    for metric in (
        _precision("ap50", "AP50", (0.5,)),
        _precision("ap75", "AP75", (0.75,)),
        _precision("ap", "AP", OVERLAPS),
        Metric(
            "loss", "loss", lambda targets, predictions: float(_losses(targets, predictions).mean()), _losses,
            Direction.MINIMIZE, "{:.3f}", low=0.0,
        ),
    )
}  # fmt: skip
