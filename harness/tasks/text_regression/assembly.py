"""Construction of a regression data set from source rows: numbers, splits, and derived facts and warnings."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.data import groups, random_splits, splits
from harness.data.dataset import Split
from harness.data.near_copies import told
from harness.data.readers.rows import notes_of
from harness.data.text_values import shown
from harness.errors import Problems
from harness.formatting.examples import examples
from harness.tasks.text_regression.data import RegressionData
from harness.tasks.text_regression.metrics import METRICS
from harness.tasks.text_settings import TextSettings


def assemble(task: TextSettings, frames: dict[str, pd.DataFrame], source: str) -> RegressionData:
    """Split the rows of a source by the task's settings.

    Args:
        task: the settings.
        frames: rows (see `harness.data.readers.rows.to_rows`) by given split, at least `train`; labels are texts.
        source: name of the source, for the facts.

    Raises:
        HarnessError: a label is no number, or there are too few rows for the splits.
    """
    notes = notes_of(frames)
    frames = _numbers(frames, task.name)
    groups.check({split: of for split, frame in frames.items() if (of := groups.of_frame(frame)) is not None})
    pool, given, test = frames["train"], frames.get("validation"), frames.get("test")
    dropped = conflicts = 0
    wanted: dict[str, float] = {}  # rows of the splits that are held out
    if test is None:
        pool, dropped, conflicts = splits.deduplicate(pool)
        wanted["test"] = task.test_fraction * len(pool)
        pool, test = random_splits.hold_out(pool, task.test_fraction, task.split_seed, "test")
    train = pool if task.shots is None else random_splits.draw_shots(pool, task.shots, task.draw)
    kind = task.validation or "split"
    validation: pd.DataFrame | None = None
    folds: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    if kind == "kfold":
        folds = random_splits.make_folds(train, task.folds, task.draw)
    elif given is not None:
        validation = given
    else:
        wanted["validation"] = task.validation_fraction * len(train)
        train, validation = random_splits.hold_out(train, task.validation_fraction, task.split_seed, "validation")
    _check_spread(task, train, validation, test)
    kept = {"train": train, "test": test} | ({} if validation is None else {"validation": validation})
    met = _split("test", test)
    made = {
        "train": _split("train", train),
        "validation": None if validation is None else _split("validation", validation),
        "test": met,
        "folds": tuple(
            (_split(f"train{n}", rest), _split(f"validation{n}", held)) for n, (rest, held) in enumerate(folds)
        ),
    }
    of_rows = {name: groups.of_frame(frame) for name, frame in kept.items()}
    values = train["label"].to_numpy(dtype=np.float64)
    words = splits.normal_form(train).map(lambda form: len(form.split())).to_numpy()
    facts = {
        "source": source,
        "rows": {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)},
        "words_mean": round(float(words.mean()), 1),
        "words_p95": round(float(np.percentile(words, 95)), 1),
        "target_mean": _rounded(values.mean()),
        "target_sd": _rounded(values.std()),
        "target_min": _rounded(values.min()),
        "target_max": _rounded(values.max()),
        "duplicates_dropped": dropped,
        "conflicting_labels": conflicts,
        "test_digest": met.text_digest,
        **splits.overlaps(train, validation, test),
        "validation": kind,
        "selected_with": random_splits.selected_with(validation, given is not None, task.folds),
        "shots": task.shots,
        "draw": task.draw,
        **groups.facts_of(of_rows),
    }
    return RegressionData(
        outputs=1,
        center=float(values.mean()),
        scale=float(values.std()),
        **made,  # type: ignore[arg-type]  # mypy does not infer the type of each key
        fingerprint=_fingerprint(made),
        facts=facts,
        warnings=(*notes, *groups.notes(of_rows, wanted), *_warnings(facts, validation, test)),
    )


def _numbers(frames: Mapping[str, pd.DataFrame], task: str) -> dict[str, pd.DataFrame]:
    """Convert the labels of all splits to numbers."""
    problems = Problems()
    found = {}
    for split, frame in frames.items():
        values = [_number(label) for label in frame["label"]]
        wrong = sorted({label for label, value in zip(frame["label"], values, strict=True) if value is None})
        problems.check(
            not wrong,
            f"Task {task} predicts a number, and {len(wrong)} {split} labels are none: {examples(wrong)}."
            f"{_spelling(wrong)} Mend or remove their rows, name another column with task.label, or use task=csv, "
            "which takes labels as classes.",
        )
        found[split] = frame.assign(label=pd.Series(values, index=frame.index, dtype="float64"))
    problems.raise_any()
    return found


def _number(label: str) -> float | None:
    """Return the number that a label spells; None for other texts, infinities and not-a-number."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _spelling(wrong: list[str]) -> str:
    """Return how numbers are written, if labels are numbers in another spelling."""
    if any(re.fullmatch(r"[+-]?\d+,\d+", label.strip()) for label in wrong):
        return " Decimals are written with a point: 0.5, not 0,5."
    if any(re.fullmatch(r"[^\w+-]*[+-]?[\d.,]+\s*[%$€£]?", label.strip()) for label in wrong):
        return " Numbers are written without signs for units or thousands: 1234.5."
    return ""


def _check_spread(task: TextSettings, train: pd.DataFrame, validation: pd.DataFrame | None, test: pd.DataFrame) -> None:
    """Refuse splits whose numbers are all equal where the metric needs different ones; training always does."""
    problems = Problems()
    for name, frame in (("training", train), ("validation", validation), ("test", test)):
        needed = 2 if name == "training" else METRICS[task.metric].distinct
        problems.check(
            frame is None or frame["label"].nunique() >= needed,
            f"All {name} rows of task {task.name} have the number "
            f"{'' if frame is None else shown(float(frame['label'].iloc[0]))}, and "
            + (
                "there is nothing to learn. Check task.label."
                if name == "training"
                else f"task.metric={task.metric} needs different ones. Choose task.metric=mse, or add rows."
            ),
        )
    problems.raise_any()


def _split(name: str, frame: pd.DataFrame) -> Split:
    return Split(
        name=name,
        texts=frame["text"].tolist(),
        pairs=frame["pair"].tolist() if "pair" in frame else None,
        targets=frame["label"].to_numpy(dtype=np.float64),
        ids=np.array(frame["id"], dtype=np.int64),
        groups=groups.of_frame(frame),
    )


def _fingerprint(made: Mapping[str, Any]) -> str:
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    content = [
        [part.name, part.texts, part.pairs, part.targets.tolist(), *groups.content(part.groups)]
        for part in parts
        if part is not None
    ]
    text = json.dumps(["text_regression", content], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _rounded(value: float) -> float:
    return float(f"{float(value):.6g}")


def _warnings(facts: Mapping[str, Any], validation: pd.DataFrame | None, test: pd.DataFrame) -> list[str]:
    found: list[str] = []
    for key, parts in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            rows = len(test if parts[0] == "test" or validation is None else validation)
            found.append(
                f"{facts[key]} {parts[0]} rows ({facts[key] / rows:.1%}) occur among the {parts[1]} rows as well, "
                f"letter case and spaces aside: {parts[0]} scores flatter by up to that much."
            )
    for key, split, other in splits.NEAR:
        found += told(facts[key], facts["rows"][split], split, other, "groups" in facts)
    if facts["duplicates_dropped"]:
        found.append(f"{facts['duplicates_dropped']} duplicate rows were dropped before splitting.")
    if facts["conflicting_labels"]:
        found.append(f"{facts['conflicting_labels']} texts occur with more than one number; the first one was kept.")
    for name, frame in (("validation", validation), ("test", test)):
        if frame is not None and (far := _beyond(frame, facts)):
            found.append(f"{far} of {len(frame)} {name} numbers lie outside the range of the training numbers.")
    return found


def _beyond(frame: pd.DataFrame, facts: Mapping[str, Any]) -> int:
    values = frame["label"].to_numpy(dtype=np.float64)
    slack = 1e-6 * max(1.0, abs(facts["target_min"]), abs(facts["target_max"]))  # the facts are rounded
    return int(((values < facts["target_min"] - slack) | (values > facts["target_max"] + slack)).sum())
