"""Construction of a detection data set: images and boxes that cannot be used, splits, facts and warnings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.data import random_splits, splits
from harness.data.images import check_images
from harness.errors import Problems
from harness.formatting.examples import examples, several
from harness.tasks.object_detection.data import NOTHING, DetectionData, Objects, ObjectSplit, object_split
from harness.tasks.object_detection.rows import Annotated, Rows, cut, fault
from harness.tasks.text_settings import TextSettings

FAULTY = ("error", "mend")  # what `task.faulty` takes
NOUN = "images"
WHAT = {
    "no size": "have no size: right must lie beyond left, and bottom below top",
    "outside": "lie outside their image",
    "beyond": "reach beyond their image",
}
MENDED = {
    "no size": "boxes without a size were left out",
    "outside": "boxes outside their image were left out",
    "beyond": "boxes that reach beyond their image were cut at its edge",
}


def assemble(
    task: TextSettings,
    sources: Mapping[str, Rows],
    source: str,
    *,
    skip: bool,
    mend: bool,
    input_size: tuple[int, int] | None,
    least_score: float,
) -> DetectionData:
    """Check the images and boxes of a source, and split them by the task's settings.

    Args:
        task: the settings.
        sources: images by given split, at least `train`.
        source: name of the source, for the facts.
        skip: whether images that cannot be read are left out; else they are an error.
        mend: whether faulty boxes are cut or left out; else they are an error.
        input_size, least_score: see `DetectionData`.

    Raises:
        HarnessError: images or boxes cannot be used, or there are too few rows for the splits; all problems at once.
    """
    problems, notes = Problems(), [note for rows in sources.values() for note in rows.notes]
    frames, images, names = dict[str, pd.DataFrame](), dict[str, Any](), dict[str, str]()
    for split, rows in sources.items():
        frame = _frame(task.name, split, rows, skip, mend, problems, notes)
        frames[split] = frame
        for digest, row in zip(frame["text"], frame["row"], strict=True):
            images.setdefault(digest, row.image)
            names.setdefault(digest, row.name)
    problems.raise_any()
    pool, given, test = frames["train"], frames.get("validation"), frames.get("test")
    dropped = conflicts = 0
    if test is None:
        pool, dropped, conflicts = splits.deduplicate(pool)
        pool, test = random_splits.hold_out(pool, task.test_fraction, task.split_seed, "test", NOUN)
    train = pool if task.shots is None else random_splits.draw_shots(pool, task.shots, task.draw, NOUN)
    kind = task.validation or "split"
    validation: pd.DataFrame | None = None
    folds: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    if kind == "kfold":
        folds = random_splits.make_folds(train, task.folds, task.draw, NOUN)
    elif given is not None:
        validation = given
    else:
        train, validation = random_splits.hold_out(train, task.validation_fraction, task.split_seed, "validation", NOUN)
    labels = _labels(task.name, sources, {"training": train, "validation": validation, "test": test})
    made = {
        "train": _split("train", train, labels),
        "validation": None if validation is None else _split("validation", validation, labels),
        "test": _split("test", test, labels),
        "folds": tuple(
            (_split(f"train{n}", rest, labels), _split(f"validation{n}", held, labels))
            for n, (rest, held) in enumerate(folds)
        ),
    }
    numbers = {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)}
    facts = {
        "source": source,
        "rows": numbers,
        "classes": len(labels),
        "objects": _counts(train),
        "objects_mean": round(float(np.mean([len(row.objects) for row in train["row"]])), 1),
        "duplicates_dropped": dropped,
        "conflicting_labels": conflicts,
        "test_digest": made["test"].text_digest,  # type: ignore[union-attr]  # a split
        **splits.overlaps(train, validation, test, texts=False),
        "validation": kind,
        "selected_with": random_splits.selected_with(validation, given is not None, task.folds),
        "shots": task.shots,
        "draw": task.draw,
    }
    return DetectionData(
        outputs=len(labels), labels=labels, images=images, names=names, input_size=input_size, least_score=least_score,
        **made,  # type: ignore[arg-type]  # mypy does not infer the type of each key
        fingerprint=_fingerprint(made, labels, input_size), facts=facts,
        warnings=(*notes, *_warnings(facts, labels, validation, test)),
    )  # fmt: skip


def _frame(
    task: str, split: str, rows: Rows, skip: bool, mend: bool, problems: Problems, notes: list[str]
) -> pd.DataFrame:
    """Return the images that can be used as rows: text (digest), label (objects as JSON), id, row (`Annotated`)."""
    checked = check_images([each.image for each in rows.images])
    if checked.bad:
        shown = several([f"{rows.images[row].name} ({why})" for row, why in checked.bad.items()])
        told = f"{len(checked.bad)} of {len(rows.images)} {split} images cannot be read: {shown}."
        if skip:
            notes.append(f"{told} They were left out.")
        else:
            problems.add(f"{task}: {told} Mend or remove them, or leave them out: task.unreadable=skip.")
    kept = [row for row, digest in enumerate(checked.digests) if digest is not None]
    problems.check(bool(kept), f"{task}: there are no {split} images.")
    sizes = {row: (int(checked.sizes[row, 0]), int(checked.sizes[row, 1])) for row in kept}
    other = [
        f"{each.name} ({each.size[0]} x {each.size[1]}, and it is {sizes[row][0]} x {sizes[row][1]})"
        for row in kept
        if (each := rows.images[row]).size is not None and each.size != sizes[row]
    ]
    problems.check(
        not other,
        f"{task}: {len(other)} {split} annotations are of images of another size: {several(other)}. They belong to "
        "another version of the images, or to images that are turned by their EXIF orientation.",
    )
    usable, faults = [], {kind: list[str]() for kind in WHAT}
    for row in kept:
        image, objects = rows.images[row], []
        for label, box, ignored in image.objects:
            kind = fault(box, sizes[row])
            if kind is not None:
                corners = ", ".join(f"{value:g}" for value in box)
                faults[kind].append(f"{image.name} ({label} {corners} in {sizes[row][0]} x {sizes[row][1]})")
            if kind in (None, "beyond"):
                objects.append((label, cut(box, sizes[row]), ignored))
        usable.append(Annotated(image.image, image.name, sizes[row], objects, image.id))
    for kind, found in faults.items():
        if found and mend:
            notes.append(f"{len(found)} {split} {MENDED[kind]}.")
        elif found and not other:  # else the size is what is wrong
            problems.add(
                f"{task}: {len(found)} {split} boxes {WHAT[kind]}: {several(found)} (left, top, right, bottom). Mend "
                "them, or set task.faulty=mend, which cuts boxes at the edge and leaves out those without a size."
            )
    frame = {
        "text": pd.Series([checked.digests[row] for row in kept], dtype="object"),
        "label": pd.Series([json.dumps(each.objects) for each in usable], dtype="object"),
        "id": pd.Series([each.id for each in usable], dtype="int64"),
        "row": pd.Series(usable, dtype="object"),
    }
    return pd.DataFrame(frame)


def _labels(task: str, sources: Mapping[str, Rows], frames: Mapping[str, pd.DataFrame | None]) -> tuple[str, ...]:
    """Return the classes: those that the sources list, else those of training and validation images, by name.

    Raises:
        HarnessError: a split has no object, or test images have a class that nothing else names.
    """
    problems = Problems()
    counts = {name: Counter[str]() if frame is None else _counted(frame) for name, frame in frames.items()}
    for name, frame in frames.items():
        problems.check(
            frame is None or counts[name].total() > 0,
            f"No {name} image of task {task} has an object: every image would be right with no box. Add annotated "
            "images.",
        )
    listed = list(dict.fromkeys(name for rows in sources.values() for name in rows.classes))
    used = set(counts["training"]) | set(counts["validation"])
    known = [name for name in listed if name in used or name in counts["test"]] if listed else sorted(used)
    if unknown := sorted(set(counts["test"]) - set(known)):
        problems.add(
            f"Test images of task {task} have classes that no training or validation image has: {examples(unknown)}. "
            "Correct their names, add training images, or take these boxes out."
        )
    problems.raise_any()
    return tuple(known)


def _split(name: str, frame: pd.DataFrame, labels: Sequence[str]) -> ObjectSplit:
    places = {label: place for place, label in enumerate(labels)}
    rows: list[Annotated] = frame["row"].tolist()
    objects = []
    for row in rows:
        # Ignored objects may be of a class that no other object has: nothing finds it, so there is nothing to ignore.
        known = [each for each in row.objects if each[0] in places]
        made = Objects(
            np.array([box for _, box, _ in known], dtype=np.float64),
            np.array([places[label] for label, _, _ in known], dtype=np.int64),
            np.array([ignored for *_, ignored in known], dtype=np.bool_),
        )
        objects.append(made if known else NOTHING)
    sizes = np.array([row.size for row in rows], dtype=np.int64).reshape(-1, 2)
    return object_split(name, frame["text"].tolist(), objects, frame["id"].to_numpy(np.int64), sizes)


def _counted(frame: pd.DataFrame) -> Counter[str]:
    return Counter(label for row in frame["row"] for label, _, ignored in row.objects if not ignored)


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    return dict(sorted(_counted(frame).items()))


def _fingerprint(made: Mapping[str, Any], labels: Sequence[str], input_size: tuple[int, int] | None) -> str:
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    content = [
        [part.name, part.texts, [[field.tolist() for field in objects] for objects in part.targets]]
        for part in parts
        if part is not None
    ]
    text = json.dumps(["object_detection", labels, input_size, content], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _warnings(
    facts: Mapping[str, Any], labels: Sequence[str], validation: pd.DataFrame | None, test: pd.DataFrame
) -> list[str]:
    found = []
    for key, (one, other) in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            rows = len(test if one == "test" or validation is None else validation)
            found.append(
                f"{facts[key]} {one} images ({facts[key] / rows:.1%}) are also among the {other} images: {one} scores "
                "flatter by up to that much."
            )
    if facts["duplicates_dropped"]:
        found.append(f"{facts['duplicates_dropped']} equal images were dropped before splitting.")
    if facts["conflicting_labels"]:
        found.append(f"{facts['conflicting_labels']} images occur with different boxes; the first ones were kept.")
    if missing := [label for label in labels if label not in facts["objects"]]:
        found.append(f"No training image has an object of {examples(missing)}: it cannot be found.")
    return found
