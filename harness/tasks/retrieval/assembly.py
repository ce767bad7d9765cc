"""Construction of a retrieval data set from source rows: queries and their passages, splits, facts and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.data import groups, random_splits, splits
from harness.data.labels import describe
from harness.data.near_copies import told
from harness.data.readers.rows import notes_of
from harness.errors import Problems
from harness.formatting.examples import alternatives, examples, short, some
from harness.records.signature import digest
from harness.records.study_files import GROUP
from harness.tasks.retrieval.data import QuerySplit, RetrievalData, query_split
from harness.tasks.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class Collection:
    """The passages of a data set.

    Attributes:
        passages: P texts, each once.
        names: P names; () if passages are named by their texts.
        places: the place of each passage by what rows call it.
        repeated: passages of the source that repeat the text of another, and count as that one.
    """

    passages: tuple[str, ...]
    names: tuple[str, ...]
    places: Mapping[str, int]
    repeated: int


def assemble(
    task: RetrievalSettings, frames: dict[str, pd.DataFrame], given: Mapping[str, str] | None, source: str
) -> RetrievalData:
    """Split the queries of a source by the task's settings.

    Args:
        task: the settings.
        frames: rows (see `harness.tasks.retrieval.rows.of_columns`) by given split, at least `train`.
        given: texts of the collection by id, which rows name; None: rows have the texts themselves.
        source: name of the source, for the facts.

    Raises:
        HarnessError: a passage is not known, a query has none, the collection is too small for the metric, or there are
            too few queries for the splits.
    """
    collection = _collection(task, frames, given)
    notes = notes_of(frames)
    merged = _merged(task, frames, collection)
    groups.check({split: of for split, frame in merged.items() if (of := groups.of_frame(frame)) is not None})
    pool, validation, test = merged["train"], merged.get("validation"), merged.get("test")
    wanted: dict[str, float] = {}  # queries of the splits that are held out
    if test is None:
        wanted["test"] = task.test_fraction * len(pool)
        pool, test = random_splits.hold_out(pool, task.test_fraction, task.split_seed, "test", "queries")
    train, few = (pool, 0) if task.shots is None else _shots(pool, task.shots, task.draw)
    origin = "given"
    kind = task.validation or ("pool" if task.shots is not None and validation is None else "split")
    folds: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    if kind == "kfold":
        validation, folds = None, random_splits.make_folds(train, task.folds, task.draw, "queries")
    elif kind == "pool":
        validation, origin = splits.draw_pool(pool, train, test, task.pool_per_passage, task.draw), "pool"
    elif validation is None:
        wanted["validation"] = task.validation_fraction * len(train)
        train, validation = random_splits.hold_out(
            train, task.validation_fraction, task.split_seed, "validation", "queries"
        )
        origin = "held out"
    kept = {"train": train, "test": test} | ({} if validation is None else {"validation": validation})
    made: dict[str, Any] = {
        "train": _split("train", train),
        "validation": None if validation is None else _split("validation", validation),
        "test": _split("test", test),
        "folds": tuple(
            (_split(f"train{n}", rest), _split(f"validation{n}", held)) for n, (rest, held) in enumerate(folds)
        ),
    }
    counts = np.zeros(len(collection.passages), dtype=np.int64)
    for row in made["train"].targets:
        counts[[place for place, _ in row]] += 1
    of_rows = {name: groups.of_frame(frame) for name, frame in kept.items()}
    facts = _facts(task, made, kept, collection, counts, source) | {
        "validation": kind,
        "selected_with": _selected_with(validation, origin, task.folds),
        "rows_joined": sum(len(frames[split]) - len(merged[split]) for split in frames),
        **groups.facts_of(of_rows),
    }
    return RetrievalData(
        outputs=len(collection.passages),
        **made,
        passages=collection.passages,
        names=collection.names,
        counts=counts,
        hard_negatives=task.hard_negatives,
        fingerprint=_fingerprint(made, collection),
        facts=facts,
        warnings=(*notes, *groups.notes(of_rows, wanted), *_warnings(task, facts, kept, few)),
    )


def _collection(
    task: RetrievalSettings, frames: Mapping[str, pd.DataFrame], given: Mapping[str, str] | None
) -> Collection:
    """Return the passages: those of a file, or all that rows have."""
    texts: dict[str, str] = {}  # by what rows call them
    if given is None:
        for frame in frames.values():
            for column in ("passages", "negatives"):
                texts |= {each: each for row in frame[column] for each in row}
    else:
        texts = dict(given)
    if task.passages_in_words:
        texts = {name: describe(text) for name, text in texts.items()}
    first: dict[str, int] = {}
    places = {name: first.setdefault(" ".join(text.split()), len(first)) for name, text in texts.items()}
    kept: dict[int, str] = {}
    for name, place in places.items():
        kept.setdefault(place, name)
    problems, number = Problems(), len(first)
    least = 2 if task.metric == "recall_at_1" else 11 if task.metric == "recall_at_10" else 10
    problems.check(
        number >= least,
        f"task.metric={task.metric} needs a collection of {least} passages or more, and task {task.name} has {number}. "
        + ("Add passages" if number < 2 else "Set task.metric=recall_at_1, or add passages")
        + " (task.passages=FILE).",
    )
    problems.raise_any()
    names = tuple(kept[place] for place in range(number)) if given is not None else ()
    return Collection(tuple(texts[kept[place]] for place in range(number)), names, places, len(texts) - number)


def _merged(
    task: RetrievalSettings, frames: Mapping[str, pd.DataFrame], collection: Collection
) -> dict[str, pd.DataFrame]:
    """Return a row for each query of each split, with the places of its passages.

    Queries are the same if their texts are, letter case and spaces aside.
    """
    problems, found = Problems(), dict[str, pd.DataFrame]()
    for split, frame in frames.items():
        named = [each for column in ("passages", "negatives") for row in frame[column] for each in row]
        if unknown := sorted({each for each in named if each not in collection.places}):
            problems.add(
                f"{len(unknown)} ids of {split} passages are not in task.passages: {examples(unknown)}. "
                f"{alternatives(unknown[0], collection.places)} Correct them, or the column that task.passage_id "
                "names."
            )
            continue
        found[split] = _queries(split, frame, collection, problems)
    problems.raise_any()
    return found


def _queries(split: str, frame: pd.DataFrame, collection: Collection, problems: Problems) -> pd.DataFrame:
    rows: dict[str, dict[str, Any]] = {}
    contrary, ambiguous, divided = list[str](), list[str](), list[str]()
    of_group = frame[GROUP] if GROUP in frame else [None] * len(frame)
    forms = splits.normal_form(frame[["text"]])
    columns = (frame["text"], frame["passages"], frame["negatives"], frame["gain"], frame["id"])
    for form, group, text, passages, negatives, gain, number in zip(forms, of_group, *columns, strict=True):
        row = rows.setdefault(
            form, {"text": text, "gains": {}, "negatives": {}, "id": number, "label": passages[0], GROUP: group}
        )
        for name in passages:
            place = collection.places[name]
            if row["gains"].setdefault(place, gain) != gain:
                ambiguous.append(text)
        row["negatives"] |= dict.fromkeys(collection.places[name] for name in negatives)
        if row[GROUP] != group:
            divided.append(text)
    nothing = list[str]()
    for row in rows.values():
        # A passage of gain 0 is known to be irrelevant.
        relevant = {place: gain for place, gain in row["gains"].items() if gain > 0}
        if both := [place for place in row["negatives"] if place in relevant]:
            contrary.append(f"{short(row['text'])} ({short(collection.passages[both[0]])})")
        if not relevant:
            nothing.append(row["text"])
        row["negatives"] |= dict.fromkeys(place for place, gain in row["gains"].items() if gain == 0)
        row["relevant"] = tuple(sorted(relevant.items(), key=lambda pair: (-pair[1], pair[0])))
        row["negatives"] = tuple(row["negatives"])
    problems.check(
        not contrary,
        f"{len(contrary)} {split} queries have a passage that is both relevant and a negative: "
        f"{some(contrary)}. Remove one of the two.",
    )
    problems.check(
        not nothing,
        f"{len(nothing)} {split} queries have no passage with a gain above 0: {examples(nothing)}. Add one, or remove "
        "them.",
    )
    problems.check(
        not ambiguous,
        f"{len(ambiguous)} rows of {split} give a passage another gain than an earlier row of the same query: "
        f"{examples(ambiguous)}. Keep one of them.",
    )
    problems.check(
        not divided,
        f"task.group: {len(divided)} {split} rows have another group than an earlier row of the same query, letter "
        f"case and spaces aside: {examples(divided)}. Rows of a query stay together: give them one group.",
    )
    kept = ["text", "relevant", "negatives", "id", "label", *([GROUP] if GROUP in frame else [])]
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in rows.values()], dtype="object") for name in kept}
    ).astype({"id": "int64"})


def _shots(pool: pd.DataFrame, shots: int, draw: int) -> tuple[pd.DataFrame, int]:
    """Draw up to `shots` queries of each passage, the first that a query's rows name, and count those with fewer.

    Where every passage has enough, they are those that a classification of the same names draws, repeated texts aside.
    """
    counts = pool["label"].value_counts()
    few = int((counts < shots).sum())
    if not few:
        return splits.draw_shots(pool, shots, draw).sort_index(), 0
    return pool.sample(frac=1, random_state=draw).groupby("label").head(shots).sort_index(), few


def _split(name: str, frame: pd.DataFrame) -> QuerySplit:
    return query_split(
        name, frame["text"].tolist(), frame["relevant"].tolist(), frame["negatives"].tolist(),
        np.array(frame["id"], dtype=np.int64), groups.of_frame(frame),
    )  # fmt: skip


def _selected_with(validation: pd.DataFrame | None, origin: str, folds: int) -> str:
    if validation is None:
        return f"selected in {folds} folds of the training queries"
    where = {
        "given": "given validation queries", "held out": "queries held out of the training queries",
        "pool": "queries of the training file beyond the shots",
    }[origin]  # fmt: skip
    return f"selected on {len(validation)} {where}"


def _facts(
    task: RetrievalSettings,
    made: Mapping[str, Any],
    kept: Mapping[str, pd.DataFrame],
    collection: Collection,
    counts: np.ndarray[Any, Any],
    source: str,
) -> dict[str, Any]:
    train, validation, test = kept["train"], kept.get("validation"), kept["test"]
    words = splits.normal_form(train[["text"]]).map(lambda form: len(form.split())).to_numpy()
    unseen = sum(not any(counts[place] for place, _ in row) for row in made["test"].targets)
    return {
        "source": source,
        "rows": {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)},
        "words_mean": round(float(words.mean()), 1),
        "words_p95": round(float(np.percentile(words, 95)), 1),
        "passages": len(collection.passages),
        "passage_words_mean": round(float(np.mean([len(text.split()) for text in collection.passages])), 1),
        "passages_repeated": collection.repeated,
        "relevant_mean": round(float(np.mean([len(row) for row in made["test"].targets])), 3),
        "with_negatives": sum(map(bool, made["train"].negatives)),
        "unseen": int(unseen),
        "test_digest": digest([made["test"].text_digest, list(collection.passages)])[:16],
        **splits.overlaps(*(None if frame is None else frame[["text"]] for frame in (train, validation, test))),  # type: ignore[arg-type]  # only validation may be None
        "shots": task.shots,
        "draw": task.draw,
    }


def _warnings(task: RetrievalSettings, facts: Mapping[str, Any], kept: Mapping[str, Any], few: int) -> list[str]:
    found: list[str] = []
    for key, parts in (
        ("overlap_train_test", ("test", "training")),
        ("overlap_validation_test", ("test", "validation")),
        ("overlap_train_validation", ("validation", "training")),
    ):
        if facts[key]:
            found.append(
                f"{facts[key]} {parts[0]} queries ({facts[key] / len(kept[parts[0]]):.1%}) occur among the {parts[1]} "
                f"queries as well, letter case and spaces aside: {parts[0]} scores flatter by up to that much."
            )
    for key, split, other in splits.NEAR:
        found += told(facts[key], facts["rows"][split], split, other, "groups" in facts)
    if facts["passages_repeated"]:
        found.append(
            f"{facts['passages_repeated']} passages repeat the text of another, spaces aside, and count as that one."
        )
    if facts["unseen"]:
        found.append(
            f"{facts['unseen']} of {len(kept['test'])} test queries ask for a passage that no training query asks for."
        )
    if few:
        found.append(f"{few} passages have fewer than task.shots={task.shots} training queries: all of them are kept.")
    return found


def _fingerprint(made: Mapping[str, Any], collection: Collection) -> str:
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    content = [
        [part.name, part.texts, part.targets.tolist(), part.negatives, *groups.content(part.groups)]
        for part in parts
        if part is not None
    ]
    return digest(["retrieval", collection.passages, collection.names, content])
