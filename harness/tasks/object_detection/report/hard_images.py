"""Hard rows: test images with the most errors, and pictures of those whose small copies are stored, with boxes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.formatting.escape import plain
from harness.formatting.values import plural
from harness.report.family_report import HardCell, HardColumn, HardRows
from harness.report.reading.predictions import Predictions, Unreadable
from harness.tasks.object_detection.data import Objects
from harness.tasks.object_detection.matching import Found, match
from harness.tasks.object_detection.report.stored import classes_of, found_of, objects_of

ROWS = 12  # most rows shown
OVERLAP = 0.5  # from which on a box is right
LEAST = 0.3  # score of the boxes that are counted and drawn where predictions do not say `task.least_score`
TRUE, RIGHT, WRONG = "#ffffff", "#1b9e77", "#d95f02"
COLUMNS = (
    HardColumn("image: objects white, boxes green where right, else orange"),
    HardColumn("missed", numeric=True, falling=True),
    HardColumn("wrong", numeric=True, falling=True),
    HardColumn("errors of other cells", numeric=True, falling=True),
    HardColumn("objects", numeric=True),
)


def hard_images(known: Predictions, others: Sequence[Predictions]) -> HardRows | None:
    """Find the images with the most missed objects and wrong boxes, means of a cell's runs; see `FamilyReport`.

    Images with a stored small copy come first, as only they can be shown.
    """
    try:
        names, small, sizes = (known.column(each)[0] for each in ("image", "thumbnail", "size"))
    except Unreadable:
        return None
    classes = classes_of(known)
    true = objects_of(known.labels, classes)
    least = float(known.metadata("least_score") or LEAST)
    missed, wrong, first = _errors(known, classes, true)
    beside = list[npt.NDArray[np.float64]]()
    for each in others:
        known_there = classes_of(each)
        less, more, _ = _errors(each, known_there, objects_of(each.labels, known_there))
        beside.append(less + more)
    shown = np.array([isinstance(each, bytes) for each in small])
    order = np.lexsort((known.ids, -(missed + wrong), ~shown))[:ROWS]
    rows = []
    for row in order.tolist():
        address = None
        if shown[row]:
            seen, right = first[row]
            drawn = with_boxes(small[row], sizes[row], true[row], seen, right)
            address = f"data:image/jpeg;base64,{base64.b64encode(drawn).decode()}"
        rows.append(
            [
                HardCell(plain(str(names[row]), 60), picture=address, large=True),
                _number(missed[row]),
                _number(wrong[row]),
                _number(float(np.mean([each[row] for each in beside]))) if beside else HardCell("", ""),
                _number(float((~true[row].ignored).sum())),
            ]
        )
    objects = sum(float((~each.ignored).sum()) for each in true)
    sentence = (
        f"Images with missed objects and wrong boxes, means of its {plural(len(known.seeds), 'run')}; those that can "
        f"be shown come first, with the boxes of the first. Boxes count from a score of {least:g}, and are right from "
        f"an overlap of {OVERLAP:g}. Of all objects {missed.sum() / max(objects, 1):.0%} are missed, and there are "
        f"{wrong.sum() / max(objects, 1):.2f} wrong boxes an object."
    )
    return HardRows(sentence, COLUMNS, rows, texts=True)


Flags = npt.NDArray[np.bool_]


def _errors(
    known: Predictions, classes: Sequence[str], true: Sequence[Objects]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[tuple[Found, Flags]]]:
    """Return missed objects and wrong boxes of each image, means of runs, and the boxes of the first, and if right."""
    runs, least = known.column("prediction"), float(known.metadata("least_score") or LEAST)
    missed, wrong = np.zeros((2, len(true)))
    first = list[tuple[Found, Flags]]()
    for run in runs:
        for row, seen in enumerate(found_of(run, classes)):
            kept = seen.scores >= least
            own = Found(seen.boxes[kept], seen.classes[kept], seen.scores[kept])
            right = np.zeros(len(own.scores), dtype=np.bool_)
            hits = 0
            for label in np.union1d(own.classes, true[row].classes).tolist():
                matched = match([true[row]], [own], label, (OVERLAP,))
                mine = np.flatnonzero(own.classes == label)
                mine = mine[np.argsort(-own.scores[mine], kind="stable")][: matched.right.shape[1]]
                right[mine] = matched.right[0] | ~matched.counts[0]
                hits += int(matched.right[0].sum())
            missed[row] += (~true[row].ignored).sum() - hits
            wrong[row] += (~right).sum()
            if len(first) < len(true):
                first.append((own, right))
    return missed / len(runs), wrong / len(runs), first


def with_boxes(content: bytes, size: Sequence[int], true: Objects, found: Found, right: Flags) -> bytes:
    """Return an image file with boxes drawn over it, as JPEG.

    Args:
        content: a small copy of the image.
        size: width and height of the image itself, to which the boxes belong.
        true: its objects.
        found: boxes.
        right: whether each is.
    """
    from PIL import Image, ImageDraw

    image: Any = Image.open(io.BytesIO(content)).convert("RGB")
    scale = np.tile([image.width / int(size[0]), image.height / int(size[1])], 2)
    canvas = ImageDraw.Draw(image)
    for box in (true.boxes * scale).tolist():
        canvas.rectangle(box, outline=TRUE, width=3)
    for box, good in zip((found.boxes * scale).tolist(), right.tolist(), strict=True):
        canvas.rectangle(box, outline=RIGHT if good else WRONG, width=1)
    made = io.BytesIO()
    image.save(made, "JPEG", quality=80)
    return made.getvalue()


def _number(value: float) -> HardCell:
    return HardCell(f"{value:.3g}", value)
