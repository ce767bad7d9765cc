"""Construction of a data set from source rows: labels, splits, and derived facts and warnings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.data import groups, splits
from harness.data.dataset import Split
from harness.data.labels import check_classes, describe, described, one_spelling, unseen
from harness.data.near_copies import told
from harness.data.readers.rows import notes_of
from harness.data.text_values import match, plain, shown
from harness.errors import HarnessError, Problems
from harness.formatting.examples import MOST, alternatives, examples, short, some
from harness.tasks.text_classification import out_of_scope
from harness.tasks.text_classification.data import ClassificationData
from harness.tasks.text_classification.feedback import Feedback, folded
from harness.tasks.text_classification.feedback import notes as told_of_feedback
from harness.tasks.text_classification.metrics import METRICS
from harness.tasks.text_classification.settings import ClassificationSettings

Folds = list[tuple[pd.DataFrame, pd.DataFrame]]
ReadFeedback = Callable[[bool, Sequence[str], Sequence[str]], Feedback]
IMBALANCE = 10  # ratio of largest to smallest class at which to warn that accuracy alone is misleading


def assemble(
    task: ClassificationSettings, frames: dict[str, pd.DataFrame], source: str, read: ReadFeedback | None = None
) -> ClassificationData:
    """Split the rows of a source by the task's settings.

    Args:
        task: the settings.
        frames: rows (see `harness.data.readers.rows.to_rows`) by given split, at least `train`.
        source: name of the source, for the facts.
        read: returns rows for training besides, by whether rows are pairs, the labels of training rows and those of
            rows of no class; None: there are none.

    Raises:
        HarnessError: the labels are inconsistent, or there are too few rows for the splits.
    """
    facts: dict[str, Any] = {}
    source_notes = notes_of(frames)
    frames, notes = one_spelling(frames)
    outside: dict[str, pd.DataFrame] = {}
    named: list[str] = []
    if task.oos_label is not None:
        frames, outside, named = out_of_scope.separate(frames, task.oos_label, task.split_seed)
        notes += out_of_scope.told(named, outside)
        facts["out_of_scope"] = {"labels": named, **{split: len(frame) for split, frame in outside.items()}}
    notes += check_classes(frames["train"]["label"], task.name)
    groups.check({split: of for split, frame in frames.items() if (of := groups.of_frame(frame)) is not None})
    feedback = None if read is None else read("pair" in frames["train"], sorted(set(frames["train"]["label"])), named)
    labels, descriptions = _labels(task, frames, () if feedback is None else feedback.new)
    pool, given, test = frames["train"], frames.get("validation"), frames.get("test")
    dropped = conflicts = 0
    wanted: dict[str, float] = {}  # rows of the splits that are held out
    if test is None:
        pool, dropped, conflicts = splits.deduplicate(pool)
        _check_vanished(frames["train"], pool, labels, task.unit)
        wanted["test"] = task.test_fraction * len(pool)
        pool, test = splits.hold_out(pool, task.test_fraction, task.split_seed, "test")
    train = pool if task.shots is None else splits.draw_shots(pool, task.shots, task.draw)

    kind = task.validation or ("split" if task.shots is None or given is not None else "pool")
    validation: pd.DataFrame | None = None
    folds: Folds = []
    if kind == "kfold":
        folds = splits.make_folds(train, task.folds, task.draw)
    elif kind == "pool":
        validation = splits.draw_pool(pool, train, test, task.pool_per_class, task.draw)
    elif given is not None:
        validation = given
    else:
        wanted["validation"] = task.validation_fraction * len(train)
        train, validation = splits.hold_out(train, task.validation_fraction, task.split_seed, "validation")

    if feedback is not None:
        evaluated = _with_outside(test, outside.get("test")), _with_outside(validation, outside.get("validation"))
        train, folds, facts["feedback"] = _with_feedback(feedback, frames, train, folds, *evaluated)
        notes += told_of_feedback(facts["feedback"])
    kept = {"train": train, "test": test} | ({} if validation is None else {"validation": validation})
    met = _split("test", test, labels)
    made = {
        "train": _split("train", train, labels),
        "validation": None if validation is None else _split("validation", validation, labels),
        "test": met,
        "folds": tuple(
            (_split(f"train{n}", rest, labels), _split(f"validation{n}", held, labels))
            for n, (rest, held) in enumerate(folds)
        ),
    }
    beyond = tuple(_split(out_of_scope.NAMES[split], frame, ()) for split, frame in outside.items())
    _check_metric(task, kind, given is not None, len(labels), validation, test, folds)
    of_rows = {name: groups.of_frame(frame) for name, frame in kept.items()}
    words = splits.normal_form(train).map(lambda form: len(form.split())).to_numpy()
    counts = train["label"].value_counts()
    facts |= {
        "source": source,
        "rows": {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)},
        "classes": len(labels),
        "words_mean": round(float(words.mean()), 1),
        "words_p95": round(float(np.percentile(words, 95)), 1),
        "majority_test": round(float(test["label"].value_counts(normalize=True).iloc[0]), 4),
        "imbalance_train": round(float(counts.max() / counts.min()), 2),
        "duplicates_dropped": dropped,
        "conflicting_labels": conflicts,
        "test_digest": met.text_digest,
        **splits.overlaps(train, validation, test, task.unit == "text"),
        "validation": kind,
        "selected_with": _selected_with(task, kind, validation, given is not None),
        "shots": task.shots,
        "draw": task.draw,
        **groups.facts_of(of_rows),
    }
    return ClassificationData(
        outputs=len(labels),
        labels=labels,
        descriptions=descriptions,
        **made,  # type: ignore[arg-type]  # mypy does not infer the type of each key
        fingerprint=_fingerprint(labels, descriptions, made, beyond),
        outside=beyond,
        facts=facts,
        warnings=(
            *source_notes,
            *notes,
            *groups.notes(of_rows, wanted),
            *_warnings(facts, labels, validation, test, task.unit),
        ),
    )


def _with_outside(frame: pd.DataFrame | None, outside: pd.DataFrame | None) -> Any:
    """Return the rows of a split with those of no class, which are evaluated, too."""
    found = [each for each in (frame, outside) if each is not None]
    return pd.concat(found, ignore_index=True) if found else None


def _with_feedback(
    feedback: Feedback, frames: Mapping[str, pd.DataFrame], train: pd.DataFrame, folds: Folds,
    test: pd.DataFrame, validation: pd.DataFrame | None,
) -> tuple[pd.DataFrame, Folds, dict[str, Any]]:  # fmt: skip
    """Add feedback to the training rows, those of folds included; return its facts, too."""
    first = 1 + max(int(frame["id"].max()) for frame in frames.values())
    wide, facts = folded(train, feedback, test, validation, first)
    return wide, [(folded(rest, feedback, test, held, first)[0], held) for rest, held in folds], facts


def _labels(
    task: ClassificationSettings, frames: Mapping[str, pd.DataFrame], new: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    problems = Problems()
    labels = sorted({*frames["train"]["label"], *new})
    problems.check(
        len(labels) > 1,
        f"Classification needs at least two classes; all training rows of task {task.name} have the label "
        f"{short(labels[0])}. Check task.label.",
    )
    for split in ("validation", "test"):
        if split in frames:
            for message in unseen(split, frames[split], labels):
                problems.add(message)
    positive = None if task.positive is None else match(task.positive, labels)
    if task.positive is not None:
        problems.check(
            positive is not None,
            f"task.positive={plain(task.positive)} is not a class. {alternatives(plain(task.positive), labels)}",
        )
        problems.check(
            len(labels) == 2, f"task.positive is for two classes; there are {len(labels)}: set task.positive=null."
        )
    if task.metric == "auroc" and len(labels) > 2:
        problems.add(f"task.metric=auroc is for two classes; there are {len(labels)}. Choose macro_f1 or accuracy.")
    given, unknown = described(labels, task.descriptions)
    for label in unknown:
        problems.add(
            f"task.descriptions describes {shown(label)}, which is not a class. {alternatives(plain(label), labels)}"
        )
    problems.raise_any()
    ordered = tuple(sorted(labels, key=lambda label: (label == positive, label)))
    return ordered, tuple(given.get(label) or describe(label) for label in ordered)


def _check_vanished(before: pd.DataFrame, after: pd.DataFrame, labels: Sequence[str], unit: str) -> None:
    """Refuse classes all of whose rows repeat texts of other classes."""
    kept, there = set(after["label"]), set(before["label"])  # a new class by feedback is in neither
    if gone := [label for label in labels if label in there - kept]:
        rows = int(before["label"].isin(gone).sum())
        raise HarnessError(
            f"{len(gone)} of {len(labels)} classes ({examples(gone)}) have no {unit} of their own: their {rows} rows "
            f"repeat {unit}s that stand before them with another label, and of equal {unit}s the first row is kept. "
            "Mend these labels, or remove the rows."
        )


def _check_metric(
    task: ClassificationSettings,
    kind: str,
    given: bool,
    classes: int,
    validation: pd.DataFrame | None,
    test: pd.DataFrame,
    folds: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
) -> None:
    """Refuse splits with too few classes for the task's metric to distinguish models."""
    needed = METRICS[task.metric].distinct
    advice = {
        "pool": "Lower task.shots, or set task.validation=kfold",
        "kfold": "Lower task.folds",
        "split": "Raise task.validation_fraction",
    }[kind]
    parts = [
        ("validation", validation, "Add some to task.validation_path, or leave it out" if given else advice),
        ("test", test, "Add some to task.test_path, or leave it out so that test rows are held out"),
        *((f"validation (fold {number})", held, advice) for number, (_, held) in enumerate(folds, start=1)),
    ]
    problems = Problems()
    for name, frame, remedy in parts:
        found = [] if frame is None else sorted(set(frame["label"]))
        problems.check(
            frame is None or len(found) >= needed,
            f"task.metric={task.metric} needs {name} rows of {'both' if classes == 2 else 'at least two'} classes; all "
            f"{0 if frame is None else len(frame)} are {examples(found)}. {remedy}, or choose another metric "
            "(task.metric=accuracy).",
        )
    problems.raise_any()


def _split(name: str, frame: pd.DataFrame, labels: Sequence[str]) -> Split:
    """Make a split; the target of a label that is no class is -1."""
    index = {label: number for number, label in enumerate(labels)}
    return Split(
        name=name,
        texts=frame["text"].tolist(),
        pairs=frame["pair"].tolist() if "pair" in frame else None,
        targets=np.array([index.get(label, -1) for label in frame["label"]], dtype=np.int64),
        ids=np.array(frame["id"], dtype=np.int64),
        groups=groups.of_frame(frame),
    )


def _fingerprint(
    labels: Sequence[str], descriptions: Sequence[str], made: Mapping[str, Any], outside: Sequence[Split]
) -> str:
    folds = (part for fold in made["folds"] for part in fold)
    parts = [made["train"], made["validation"], made["test"], *folds, *outside]
    content = [
        [part.name, part.texts, part.pairs, part.targets.tolist(), *groups.content(part.groups)]
        for part in parts
        if part is not None
    ]
    text = json.dumps([labels, descriptions, content], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _selected_with(task: ClassificationSettings, kind: str, validation: pd.DataFrame | None, given: bool) -> str:
    if validation is None:
        return f"selected in {task.folds} folds of the training rows"
    if task.shots is not None and (kind == "pool" or given):
        return f"selected with {len(validation)} labels beyond the shots"
    origin = "given validation rows" if given else "rows held out of the training rows"
    return f"selected on {len(validation)} {origin}"


def _warnings(
    facts: Mapping[str, Any], labels: Sequence[str], validation: pd.DataFrame | None, test: pd.DataFrame, unit: str
) -> tuple[str, ...]:
    found: list[str] = []
    aside = ", letter case and spaces aside" if unit == "text" else ""
    for key, parts in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            share = facts[key] / facts["rows"][parts[0]]
            found.append(
                f"{facts[key]} {parts[0]} rows ({share:.1%}) occur among the {parts[1]} rows as well{aside}: "
                f"{parts[0]} scores flatter by up to that much."
            )
    for key, split, other in splits.NEAR:
        found += told(facts[key], facts["rows"][split], split, other, "groups" in facts)
    if facts["duplicates_dropped"]:
        found.append(f"{facts['duplicates_dropped']} duplicate rows were dropped before splitting.")
    if facts["conflicting_labels"]:
        found.append(f"{facts['conflicting_labels']} {unit}s occur with more than one label; the first one was kept.")
    if facts["imbalance_train"] >= IMBALANCE:
        found.append(
            f"The largest training class has {facts['imbalance_train']:.0f} times the rows of the smallest: look at "
            "macro_f1 as well as accuracy."
        )
    for name, frame in (("validation", validation), ("test", test)):
        absent = [] if frame is None else [label for label in labels if label not in set(frame["label"])]
        if absent:
            found.append(f"{len(absent)} of {len(labels)} classes have no {name} row: {some(absent)}.")
    folded: dict[str, list[str]] = {}
    for label in labels:
        folded.setdefault(describe(label), []).append(label)
    found.extend(
        f"The classes {' and '.join(map(repr, same[:MOST]))} differ only in case or punctuation: are they one?"
        for same in folded.values()
        if len(same) > 1
    )
    return tuple(found)
