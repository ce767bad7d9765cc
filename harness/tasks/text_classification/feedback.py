"""Feedback on a served model as further training rows (`task.feedback`); evaluated rows stay what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.data.readers.file_formats import expanded
from harness.data.splits import normal_form
from harness.data.text_values import half_characters, match, plain
from harness.errors import HarnessError, Problems
from harness.formatting.examples import MOST, alternatives, examples, short
from harness.formatting.values import plural

KNOWN, NEW = "known", "new"
CLASSES = (KNOWN, NEW)  # values of task.feedback_classes: whether labels that training rows lack are refused
COUNTS = ("rows", "added", "known", "replaced", "in_test", "in_validation", "repeated", "conflicting")


@dataclass(frozen=True)
class Feedback:
    """Rows of feedback, each text once.

    Attributes:
        frame: `text`, `pair` (only of tasks of pairs) and `label`, in the order of time.
        facts: `rows` read, `repeated` texts, and of these `conflicting` ones, told with several labels; if there are
            some, those `out_of_scope`, which are left out.
        new: labels that training rows lack.
    """

    frame: pd.DataFrame
    facts: dict[str, int]
    new: tuple[str, ...]


def read_feedback(path: str, pairs: bool, labels: Sequence[str], classes: str, outside: Sequence[str] = ()) -> Feedback:
    """Read what `harness serve` stored: a file, or the folder of a model with a file a tenant.

    Of several rows with one text (letter case and spaces aside), the last one by time counts.

    Args:
        path: `task.feedback`.
        pairs: whether the task's rows are pairs of texts.
        labels: of the training rows.
        classes: one of `CLASSES`.
        outside: labels of rows of no class (`task.oos_label`), which train nothing.

    Raises:
        HarnessError: there is no such file, a line is no feedback on this task, or labels are unknown; all problems at
            once.
    """
    place = expanded(path)
    files = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise HarnessError(
            f"task.feedback={path} has no feedback: name a file that harness serve stored, feedback/NAME/TENANT.jsonl, "
            "or the folder feedback/NAME."
        )
    problems, rows = Problems(), list[dict[str, str]]()
    for file in files:
        rows += _rows(file, pairs, problems)
    problems.raise_any()
    # Sorted by time over all tenants; rows of the same time stay in the order of their files.
    rows.sort(key=lambda row: row["time"])
    columns = ["text", *(["pair"] if pairs else []), "label"]
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})
    known = [*labels, *outside]
    frame["label"] = [match(label, known) or label for label in frame["label"]]
    new = tuple(sorted(set(frame["label"]) - set(known)))
    if new and classes != NEW:
        hint = alternatives(new[0], labels) if len(new) == 1 else f"Classes: {examples(labels)}."
        raise HarnessError(
            f"task.feedback={path} has {plural(len(new), 'label')} that no training row has: {examples(new)}. {hint} "
            f"Mend the rows, or let new classes in: task.feedback_classes={NEW}."
        )
    form = normal_form(frame)
    several = form.duplicated(keep=False)
    conflicting = int((frame["label"].groupby(form).nunique() > 1).sum())
    kept = frame[~form.duplicated(keep="last")]
    facts = {"rows": len(frame), "repeated": int(several.sum() - form[several].nunique()), "conflicting": conflicting}
    apart = kept["label"].isin(outside)
    if apart.any():
        facts["out_of_scope"] = int(apart.sum())
    return Feedback(kept[~apart], facts, new)


def _rows(file: Path, pairs: bool, problems: Problems) -> list[dict[str, str]]:
    """Return the rows of a file; report lines that are none."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # editors may have put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        decoded = isinstance(error, OSError)
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        way = "" if decoded else " Unpack it if it is compressed, and save it as UTF-8."
        problems.add(f"task.feedback: {file} cannot be read ({reason}).{way}")
        return []
    found, wrong = list[dict[str, str]](), list[str]()
    needed = ("text", "pair") if pairs else ("text",)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        reason = _wrong(row, needed, pairs)
        if reason is not None:
            wrong.append(f"line {number} {reason}")
            continue
        found.append({
            **{name: row[name] for name in needed}, "label": plain(row["label"]), "time": str(row.get("time", "")),
        })  # fmt: skip
    if wrong:
        more = f", and {len(wrong) - MOST} more" if len(wrong) > MOST else ""
        problems.add(
            f"task.feedback: {file} has lines that are no feedback on this task: {'; '.join(wrong[:MOST])}{more}. Mend "
            "or remove them."
        )
    return found


def _wrong(row: Any, needed: Sequence[str], pairs: bool) -> str | None:
    """Return why a line is no row; None if it is one."""
    if not isinstance(row, Mapping):
        return "is no JSON object"
    if missing := [name for name in needed if not isinstance(row.get(name), str) or not row[name].strip()]:
        return f"has no {missing[0]}"
    if any(half_characters([row.get(name)], name, "") for name in (*needed, "label")):
        return "holds half a character (a lone surrogate)"
    if not pairs and "pair" in row:
        return "has a second text, and this task has single ones"
    label = row.get("label")
    if isinstance(label, bool) or not isinstance(label, str | int | float) or not plain(label).strip():
        return "has no label"
    return None


def folded(
    train: pd.DataFrame, feedback: Feedback, test: pd.DataFrame, validation: pd.DataFrame | None, first: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return training rows with those of feedback after them.

    Rows whose text is a validation or test row are left out, so that these keep their meaning. Of a text that training
    rows have with another label, the feedback counts, which is later: those rows are left out.

    Args:
        train: training rows; see `harness.data.readers.rows.to_rows`.
        feedback: the rows to add.
        test, validation: the rows that are evaluated; validation may be None.
        first: the smallest id of an added row.

    Returns:
        The rows, and the facts: how many there were of each kind, and new classes.
    """
    rows = feedback.frame
    forms, own = normal_form(rows), normal_form(train)
    in_test = forms.isin(set(normal_form(test)))
    held = set() if validation is None else set(normal_form(validation))
    in_validation = forms.isin(held) & ~in_test
    usable = rows[~in_test & ~in_validation]
    told = dict(zip(forms[usable.index], usable["label"], strict=True))
    others = own.map(told)
    replaced = others.notna() & (others != train["label"])
    kept = train[~replaced]
    same = forms[usable.index].isin(set(own[~replaced]))
    added = usable[~same].assign(id=range(first, first + int((~same).sum())))
    facts: dict[str, Any] = feedback.facts | {
        "added": len(added), "known": int(same.sum()), "replaced": int(replaced.sum()),
        "in_test": int(in_test.sum()), "in_validation": int(in_validation.sum()), "new_classes": list(feedback.new),
        "first_id": first,
    }  # fmt: skip
    return pd.concat([kept, added], ignore_index=True), facts


def notes(facts: Mapping[str, Any]) -> list[str]:
    """Say what became of the rows."""
    left = [
        (facts["in_test"], "is a test row", "are test rows"),
        (facts["in_validation"], "is a validation row", "are validation rows"),
        (facts["known"], "is a training row already", "are training rows already"),
        (facts["repeated"], "repeats an earlier text", "repeat earlier texts"),
        (facts.get("out_of_scope", 0), "is out of scope (task.oos_label)", "are out of scope (task.oos_label)"),
    ]
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in left if count]
    told = [
        f"Feedback: {plural(facts['rows'], 'row')}, {facts['added']} added to the training rows"
        + (f"; left out: {', '.join(parts)}." if parts else ".")
    ]
    if facts["conflicting"]:
        told.append(f"Feedback has {plural(facts['conflicting'], 'text')} with several labels; the last one counts.")
    if facts["replaced"]:
        told.append(f"{plural(facts['replaced'], 'training row')} with another label gave way to feedback.")
    if facts["new_classes"]:
        names = ", ".join(short(label) for label in facts["new_classes"])
        told.append(f"New classes by feedback: {names}. No validation or test row has them.")
    return told
