"""Construction of a data set of images: what cannot be read, then as for texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from harness.data.images import ImageSource, check_images
from harness.data.readers.rows import to_rows
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.records.study_files import GROUP
from harness.tasks.image_classification.data import ImageData
from harness.tasks.image_classification.sources import ImageTable
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
    problems, notes = Problems(), [note for table in tables.values() for note in table.notes]
    frames: dict[str, pd.DataFrame] = {}
    images: dict[str, ImageSource] = {}
    names: dict[str, str] = {}
    heights: list[int] = []
    for split, table in tables.items():
        checked = check_images(table.sources)
        if checked.bad:
            shown = several([f"{table.names[row]} ({why})" for row, why in checked.bad.items()])
            told = f"{len(checked.bad)} of {len(table.sources)} {split} images cannot be read: {shown}."
            if skip:
                notes.append(f"{told} They were left out.")
            else:
                problems.add(f"{task.name}: {told} Mend or remove them, or leave them out: task.unreadable=skip.")
                continue
        notes += [f"{number} {split} {_agree(what, number)}." for what, number in sorted(checked.changes.items())]
        kept = [row for row, digest in enumerate(checked.digests) if digest is not None]
        if not problems.check(bool(kept), f"{task.name}: there are no {split} images."):
            continue
        digests = [str(checked.digests[row]) for row in kept]
        columns = {"image": digests, "label": [table.labels[row] for row in kept]}
        try:
            frame = to_rows(columns, ["image"], "label", label_names, f"{task.name} ({split})")
        except HarnessError as error:
            problems.extend(error)
            continue
        of_rows = {GROUP: [table.groups[row] for row in kept]} if table.groups else {}
        frames[split] = frame.assign(id=kept, **of_rows)
        heights += checked.sizes[kept, 1].tolist()
        for row, digest in zip(kept, digests, strict=True):
            images.setdefault(digest, table.sources[row])
            names.setdefault(digest, table.names[row])
    problems.raise_any()
    data = assemble(task, frames, source)
    if max(heights) >= VARIED * min(heights):
        notes.append(
            f"Images are {min(heights)} to {max(heights)} pixels high; all are resized as the model reads them."
        )
    kept_facts = {key: value for key, value in data.facts.items() if key not in TEXT_FACTS}
    more = {"height_median": int(np.median(heights))}
    same: dict[str, Any] = {each.name: getattr(data, each.name) for each in fields(ClassificationData)}
    return ImageData(
        **same | {"facts": kept_facts | more, "warnings": (*notes, *data.warnings)},
        images=images, names=names,
    )  # fmt: skip


def _agree(what: str, number: int) -> str:
    """Make a sentence about several images one about a single one."""
    if number > 1:
        return what
    one = what.replace("images were", "image was").replace("images hold", "image holds")
    return one.replace("their", "its")
