"""From the rows of a source to a data set: labels, splits, and the facts and warnings counted about them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.errors import Problems, nearest
from harness.tasks import splits
from harness.tasks.data import Split, TextData

if TYPE_CHECKING:
    from harness.tasks.text import TextTask

IMBALANCE = 10  # largest to smallest class, from which on accuracy alone misleads: worth a warning


def assemble(task: TextTask, frames: dict[str, pd.DataFrame], source: str) -> TextData:
    """Split the rows of a source as the task says.

    Args:
        task: the rules.
        frames: rows (see `harness.tasks.sources.to_rows`) by given split, `train` at least.
        source: its name, for the facts.

    Raises:
        HarnessError: the labels do not fit together, or the rows do not suffice for the splits.
    """
    facts: dict[str, Any] = {}
    labels, descriptions = _labels(task, frames)
    pool, given, test = frames["train"], frames.get("validation"), frames.get("test")
    dropped = conflicts = 0
    if test is None:
        pool, dropped, conflicts = splits.deduplicate(pool)
        pool, test = splits.hold_out(pool, task.test_fraction, task.split_seed, "test")
    train = pool if task.shots is None else splits.draw_shots(pool, task.shots, task.draw)

    kind = task.validation or ("split" if task.shots is None or given is not None else "pool")
    validation: pd.DataFrame | None = None
    folds: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    if kind == "kfold":
        folds = splits.make_folds(train, task.folds, task.draw)
    elif kind == "pool":
        validation = splits.draw_pool(pool, train, test, task.pool_per_class, task.draw)
    elif given is not None:
        validation = given
    else:
        train, validation = splits.hold_out(train, task.validation_fraction, task.split_seed, "validation")

    made = {
        "train": _split("train", train, labels),
        "validation": None if validation is None else _split("validation", validation, labels),
        "test": _split("test", test, labels),
        "folds": tuple(
            (_split(f"train{n}", rest, labels), _split(f"validation{n}", held, labels))
            for n, (rest, held) in enumerate(folds)
        ),
    }
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
        "overlap_train_test": splits.overlap(test, train),
        "overlap_validation_test": 0 if validation is None else splits.overlap(test, validation),
        "overlap_train_validation": 0 if validation is None else splits.overlap(validation, train),
        "validation": kind,
        "selected_with": _selected_with(task, kind, validation, given is not None),
        "shots": task.shots,
        "draw": task.draw,
    }
    return TextData(
        labels=labels,
        descriptions=descriptions,
        **made,  # type: ignore[arg-type]  # mypy does not see which key holds which type
        fingerprint=_fingerprint(labels, descriptions, made),
        facts=facts,
        warnings=_warnings(facts, labels, validation, test),
    )


def _labels(task: TextTask, frames: Mapping[str, pd.DataFrame]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    problems = Problems()
    labels = sorted(set(frames["train"]["label"]))
    problems.check(
        len(labels) > 1,
        f"Classification needs at least two classes; all training rows of task {task.name} have the label "
        f"{labels[0]!r}. Check task.label.",
    )
    for split in ("validation", "test"):
        if split in frames:
            unseen = sorted(set(frames[split]["label"]) - set(labels))
            for label in unseen[:5]:
                rows = int((frames[split]["label"] == label).sum())
                problems.add(
                    f"The {split} label {label!r} ({rows} rows) does not occur in training. {nearest(label, labels)}"
                )
            if len(unseen) > 5:
                problems.add(f"{len(unseen) - 5} more {split} labels do not occur in training.")
    if task.positive is not None:
        problems.check(
            task.positive in labels, f"task.positive={task.positive} is not a class. {nearest(task.positive, labels)}"
        )
        problems.check(
            len(labels) == 2, f"task.positive is for two classes; there are {len(labels)}: set task.positive=null."
        )
    if task.metric == "auroc" and len(labels) > 2:
        problems.add(f"task.metric=auroc is for two classes; there are {len(labels)}. Choose macro_f1 or accuracy.")
    given = task.descriptions or {}
    for label in given:
        problems.check(
            label in labels, f"task.descriptions describes {label!r}, which is not a class. {nearest(label, labels)}"
        )
    problems.raise_any()
    ordered = tuple(sorted(labels, key=lambda label: (label == task.positive, label)))
    return ordered, tuple(given.get(label) or describe(label) for label in ordered)


def describe(label: str) -> str:
    """Turn a class name into plain language: `Refund_not_showing_up?` becomes `refund not showing up`."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", label).lower().split()) or label


def _split(name: str, frame: pd.DataFrame, labels: Sequence[str]) -> Split:
    index = {label: number for number, label in enumerate(labels)}
    return Split(
        name=name,
        texts=frame["text"].tolist(),
        pairs=frame["pair"].tolist() if "pair" in frame else None,
        labels=np.array([index[label] for label in frame["label"]], dtype=np.int64),
        ids=np.array(frame["id"], dtype=np.int64),
    )


def _fingerprint(labels: Sequence[str], descriptions: Sequence[str], made: Mapping[str, Any]) -> str:
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    content = [[part.name, part.texts, part.pairs, part.labels.tolist()] for part in parts if part is not None]
    text = json.dumps([labels, descriptions, content], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _selected_with(task: TextTask, kind: str, validation: pd.DataFrame | None, given: bool) -> str:
    if validation is None:
        return f"selected in {task.folds} folds of the training rows"
    if task.shots is not None and (kind == "pool" or given):
        return f"selected with {len(validation)} labels beyond the shots"
    origin = "given validation rows" if given else "rows held out of the training rows"
    return f"selected on {len(validation)} {origin}"


def _warnings(
    facts: Mapping[str, Any], labels: Sequence[str], validation: pd.DataFrame | None, test: pd.DataFrame
) -> tuple[str, ...]:
    found: list[str] = []
    for key, parts in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            share = facts[key] / facts["rows"][parts[0]]
            found.append(
                f"{facts[key]} {parts[0]} rows ({share:.1%}) occur among the {parts[1]} rows as well, letter case and "
                f"spaces aside: {parts[0]} scores flatter by up to that much."
            )
    if facts["duplicates_dropped"]:
        found.append(f"{facts['duplicates_dropped']} duplicate rows were dropped before splitting.")
    if facts["conflicting_labels"]:
        found.append(f"{facts['conflicting_labels']} texts occur with more than one label; the first one was kept.")
    if facts["imbalance_train"] >= IMBALANCE:
        found.append(
            f"The largest training class has {facts['imbalance_train']:.0f} times the rows of the smallest: look at "
            "macro_f1 as well as accuracy."
        )
    for name, frame in (("validation", validation), ("test", test)):
        absent = [] if frame is None else [label for label in labels if label not in set(frame["label"])]
        if absent:
            shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            found.append(f"{len(absent)} of {len(labels)} classes have no {name} row: {shown}.")
    folded: dict[str, list[str]] = {}
    for label in labels:
        folded.setdefault(describe(label), []).append(label)
    found.extend(
        f"The classes {' and '.join(map(repr, same))} differ only in case or punctuation: are they one?"
        for same in folded.values()
        if len(same) > 1
    )
    return tuple(found)
