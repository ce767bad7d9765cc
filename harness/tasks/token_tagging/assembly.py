"""Construction of a tagging data set from source rows: tags, splits, and derived facts and warnings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.data import random_splits, splits
from harness.errors import Problems
from harness.formatting.examples import examples
from harness.tasks.text_settings import TextSettings
from harness.tasks.token_tagging.data import OUTSIDE, TaggingData, TagSplit, split_of
from harness.tasks.token_tagging.entities import PREFIXES, RULES, encoded, entities, is_tag, scheme_of, violations
from harness.tasks.token_tagging.metrics import ENTITY_METRICS
from harness.tasks.token_tagging.rows import Row, Rows, where_of

SENTENCES = "sentences"  # what rows are called in messages


def assemble(
    task: TextSettings, sources: Mapping[str, Rows], source: str, scheme: str | None, repair: bool, piece: str | None
) -> TaggingData:
    """Split the rows of a source by the task's settings.

    Args:
        task: the settings.
        sources: rows by given split, at least `train`.
        source: name of the source, for the facts.
        scheme: of the tags; None: by their prefixes.
        repair: whether tags that break the scheme are written anew.
        piece: see `TaggingData`.

    Raises:
        HarnessError: tags do not follow the scheme, or there are too few rows for the splits.
    """
    notes = list(dict.fromkeys(note for rows in sources.values() for note in rows.notes))
    everything = [row.tags for rows in sources.values() for row in rows.rows]
    scheme = scheme or scheme_of(everything)
    checked, repaired = _checked(sources, task.name, scheme, repair)
    frames = {split: _frame(rows) for split, rows in checked.items()}
    empty = sum(len(sources[split].rows) - len(frame) for split, frame in frames.items())
    tags = (OUTSIDE, *sorted({tag for row in everything for tag in row} - {OUTSIDE}, key=_order))
    if repaired:
        tags = (OUTSIDE, *sorted({tag for row in _tags_of(checked) for tag in row} - {OUTSIDE}, key=_order))
    pool, given, test = frames["train"], frames.get("validation"), frames.get("test")
    dropped = conflicts = 0
    if test is None:
        pool, dropped, conflicts = splits.deduplicate(pool)
        pool, test = random_splits.hold_out(pool, task.test_fraction, task.split_seed, "test", SENTENCES)
    train = pool if task.shots is None else random_splits.draw_shots(pool, task.shots, task.draw, SENTENCES)
    kind = task.validation or "split"
    validation: pd.DataFrame | None = None
    folds: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    if kind == "kfold":
        folds = random_splits.make_folds(train, task.folds, task.draw, SENTENCES)
    elif given is not None:
        validation = given
    else:
        train, validation = random_splits.hold_out(
            train, task.validation_fraction, task.split_seed, "validation", SENTENCES
        )
    _check_entities(task, {"training": train, "validation": validation, "test": test})
    met = _split("test", test)
    made = {
        "train": _split("train", train),
        "validation": None if validation is None else _split("validation", validation),
        "test": met,
        "folds": tuple(
            (_split(f"train{n}", rest), _split(f"validation{n}", held)) for n, (rest, held) in enumerate(folds)
        ),
    }
    facts = {
        "source": source,
        "rows": {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)},
        **_counts(train),
        "classes": len(tags),
        "scheme": scheme,
        "tags_repaired": repaired,
        "duplicates_dropped": dropped,
        "conflicting_labels": conflicts,
        "empty_dropped": empty,
        "test_digest": met.text_digest,
        "overlap_train_test": splits.overlap(test, train),
        "overlap_validation_test": 0 if validation is None else splits.overlap(test, validation),
        "overlap_train_validation": 0 if validation is None else splits.overlap(validation, train),
        "validation": kind,
        "selected_with": random_splits.selected_with(validation, given is not None, task.folds),
        "shots": task.shots,
        "draw": task.draw,
    }
    return TaggingData(
        outputs=len(tags),
        tags=tags,
        scheme=scheme,
        piece=piece,
        **made,  # type: ignore[arg-type]  # mypy does not infer the type of each key
        fingerprint=_fingerprint(made, tags),
        facts=facts,
        warnings=(*notes, *_warnings(facts, train, validation, test)),
    )


def _order(tag: str) -> tuple[str, str]:
    return tag[2:], tag[:1]


def _tags_of(sources: Mapping[str, Rows]) -> list[tuple[str, ...]]:
    return [row.tags for rows in sources.values() for row in rows.rows]


def _checked(sources: Mapping[str, Rows], task: str, scheme: str, repair: bool) -> tuple[dict[str, Rows], int]:
    """Check all tags; return the rows, repaired if asked, and the number of tags that were changed."""
    problems, found, repaired = Problems(), dict[str, Rows](), 0
    for split, rows in sources.items():
        odd = [(row, word) for row in rows.rows for word, tag in enumerate(row.tags) if not is_tag(tag, scheme)]
        shown = examples(list(dict.fromkeys(row.tags[word] for row, word in odd)))
        problems.check(
            not odd,
            f"{len(odd)} {split} tags of task {task} are not {scheme} ({'' if not odd else where_of(odd)}): {shown}. "
            f"Tags are {OUTSIDE}, or {_forms(scheme)} and a type, as {scheme[0]}-person. Name the column of tags with "
            "task.label, the scheme with task.scheme, or other names with task.label_names.",
        )
        wrong = [] if odd else [(row, word) for row in rows.rows for word in violations(row.tags, scheme)]
        kept = rows
        if wrong and repair:
            kept = Rows(tuple(_repaired(row, scheme) for row in rows.rows), rows.notes)
            repaired += len(wrong)
        else:
            problems.check(
                not wrong,
                f"{len(wrong)} {split} tags of task {task} do not follow {scheme} "
                f"({'' if not wrong else where_of(wrong)}): {_told(wrong[0], scheme) if wrong else ''}. Mend the file, "
                "or set task.repair=true, which writes the tags anew from the entities that they are read as.",
            )
        found[split] = kept
    problems.raise_any()
    return found, repaired


def _forms(scheme: str) -> str:
    *first, last = (f"{prefix}-" for prefix in PREFIXES[scheme])
    return f"{', '.join(first)} or {last}" if first else last


def _told(wrong: tuple[Row, int], scheme: str) -> str:
    """Return what is wrong with the first tag that breaks the scheme."""
    row, word = wrong
    tags = (*row.tags, "the end of the sentence")
    before = row.tags[word - 1] if word else "the start of the sentence"
    return f"there {tags[word]} follows {before}, and {RULES[scheme]}"


def _repaired(row: Row, scheme: str) -> Row:
    return Row(row.sentence, encoded(entities(row.tags), len(row.tags), scheme), row.place, row.unit)


def _frame(rows: Rows) -> pd.DataFrame:
    """Return the rows that have words as a frame of text, label, id (counted from 0) and row."""
    kept = [(number, row) for number, row in enumerate(rows.rows) if row.sentence.words]
    return pd.DataFrame(
        {
            "text": pd.Series([row.sentence.text for _, row in kept], dtype="object"),
            "label": pd.Series([" ".join(row.tags) for _, row in kept], dtype="object"),
            "id": pd.Series([number for number, _ in kept], dtype="int64"),
            "row": pd.Series([row for _, row in kept], dtype="object"),
        }
    )


def _split(name: str, frame: pd.DataFrame) -> TagSplit:
    rows: list[Row] = frame["row"].tolist()
    return split_of(name, [row.sentence for row in rows], [row.tags for row in rows], frame["id"].tolist())


def _check_entities(task: TextSettings, frames: Mapping[str, pd.DataFrame | None]) -> None:
    """Refuse splits without an entity: training would learn nothing, and entity metrics have no value."""
    problems = Problems()
    for name, frame in frames.items():
        needed = name == "training" or task.metric in ENTITY_METRICS
        holds = frame is None or not needed or any(tag != OUTSIDE for row in frame["row"] for tag in row.tags)
        problems.check(
            holds,
            f"No {name} sentence of task {task.name} has an entity: every tag is {OUTSIDE}. "
            + (
                "There is nothing to learn: check task.label, or raise task.shots."
                if name == "training"
                else f"task.metric={task.metric} needs some: add sentences, or use task.metric=token_accuracy."
            ),
        )
    problems.raise_any()


def _counts(train: pd.DataFrame) -> dict[str, Any]:
    """Return lengths of the training rows, and how many entities of each type they have."""
    lengths = np.array([len(row.tags) for row in train["row"]])
    types = Counter(entity.type for row in train["row"] for entity in entities(row.tags))
    return {
        "words_mean": round(float(lengths.mean()), 1),
        "words_p95": round(float(np.percentile(lengths, 95)), 1),
        "entities": dict(sorted(types.items())),
    }


def _fingerprint(made: Mapping[str, Any], tags: Sequence[str]) -> str:
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    content = [
        [part.name, [[row.text, row.words, row.starts] for row in part.sentences], part.targets.tolist()]
        for part in parts
        if part is not None
    ]
    text = json.dumps(["token_tagging", tags, content], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _warnings(
    facts: Mapping[str, Any], train: pd.DataFrame, validation: pd.DataFrame | None, test: pd.DataFrame
) -> list[str]:
    found: list[str] = []
    for key, parts in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            rows = len(test if parts[0] == "test" or validation is None else validation)
            found.append(
                f"{facts[key]} {parts[0]} sentences ({facts[key] / rows:.1%}) occur among the {parts[1]} rows as well, "
                f"letter case and spaces aside: {parts[0]} scores flatter by up to that much."
            )
    for key, told in (
        ("duplicates_dropped", "duplicate sentences were dropped before splitting"),
        ("conflicting_labels", "sentences occur with different tags; the first ones were kept"),
        ("empty_dropped", "rows have no words and were left out"),
        ("tags_repaired", "tags broke the scheme and were written anew (task.repair)"),
    ):
        if facts[key]:
            found.append(f"{facts[key]} {told}.")
    known = set(facts["entities"])
    for name, frame in (("validation", validation), ("test", test)):
        types = () if frame is None else _types(frame["row"])
        if unknown := sorted(set(types) - known):
            found.append(f"{name} has entities of types that no training sentence has: {examples(unknown)}.")
    return found


def _types(rows: Iterable[Row]) -> set[str]:
    return {entity.type for row in rows for entity in entities(row.tags)}
