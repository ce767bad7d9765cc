"""Construction of a data set of text generation: splits, several references a row, facts and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.data import groups
from harness.data.dataset import Split
from harness.data.near_copies import near_copies, told
from harness.data.splits import NEAR
from harness.errors import HarnessError
from harness.records.signature import digest
from harness.tasks.text_generation.data import GenerationData, GenerationSplit, Writing, split_of
from harness.tasks.text_generation.metrics.judges import Judge
from harness.tasks.text_generation.retention.retained import read_retained
from harness.tasks.text_generation.rows import Raw, chosen, grouped, prompt_keys, ungrouped
from harness.tasks.text_generation.settings import GenerationSettings
from harness.tasks.text_settings import TextSettings

LEAST_ROWS = 2  # of each split: one row has no spread


def assemble(task: GenerationSettings, raws: Mapping[str, Raw], source: str, writing: Writing) -> GenerationData:
    """Split the rows of a source by the task's settings.

    Rows with the same prompt stay in one split. Evaluated rows have all references of their prompt; training rows have
    one each.

    Args:
        task: the settings.
        raws: rows by given split, at least `train`.
        source: name of the source, for the facts.
        writing: see `Writing`.

    Raises:
        HarnessError: there are too few rows for the splits.
    """
    made = split_rows(task, raws, {"validation": task.validation_rows, "test": task.test_rows})
    facts = facts_of(task, made, source)
    retained = None if task.retain is None else read_retained(task.retain)
    if retained is not None:
        facts["costs"] = list(retained.costs)
        facts["retained"] = len(retained.texts) or len(retained.questions)
    judges = {str(name): Judge(call) for name, call in (task.judges or {}).items()}
    # What is kept and the judges' code are files, too; without them, fingerprints are those of earlier versions.
    others = [] if retained is None else [retained.digest]
    others += [each.digest for each in judges.values()]
    # The template is a file, which may change; all other settings are part of the configuration.
    fingerprint = digest(["text_generation", content_of(made), writing.chat_template])
    return GenerationData(
        outputs=2,
        **made,
        fingerprint=digest([fingerprint, *others]) if others else fingerprint,
        facts=facts,
        warnings=(*groups.notes(_groups(made), {}), *warnings_of(facts)),
        writing=writing,
        metric=task.metric,
        retained=retained,
        judges={name: each.metric(name) for name, each in judges.items()},
    )


def split_rows(
    task: TextSettings, raws: Mapping[str, Raw], limits: Mapping[str, int | None], noun: str = "prompt"
) -> dict[str, Any]:
    """Make the splits of a data set: its fields train, validation, test and folds.

    Args:
        task: the settings.
        raws: rows by given split, at least `train`.
        limits: most rows of validation and test; None: all.
        noun: what rows of one split have in common, for messages.

    Raises:
        HarnessError: there are too few rows for the splits.
    """
    pool, test = raws["train"], raws.get("test")
    groups.check({split: np.array(raw.groups, dtype=object) for split, raw in raws.items() if raw.groups})
    if test is None:
        pool, test = _hold_out(pool, task.test_fraction, task.split_seed, "test", noun)
    train = ungrouped(pool)
    if task.shots is not None:
        train = _drawn(train, task.shots, task.draw, "task.shots", "training")
    given = raws.get("validation")
    folds: list[tuple[Raw, Raw]] = []
    validation: Raw | None = None
    if task.validation == "kfold":
        folds = _folds(train, task.folds, task.draw, noun)
    elif given is not None:
        validation = given
    else:
        train, validation = _hold_out(train, task.validation_fraction, task.split_seed, "validation", noun)
    evaluated = {"validation": validation, "test": test}
    kept: dict[str, Raw | None] = {
        name: None if raw is None else _at_most(grouped(raw), limits[name], task.split_seed)
        for name, raw in evaluated.items()
    }
    return {
        "train": _split("train", train),
        **{name: None if raw is None else _split(name, raw) for name, raw in kept.items()},
        "folds": tuple(
            (_split(f"train{n}", rest), _split(f"validation{n}", grouped(held))) for n, (rest, held) in enumerate(folds)
        ),
    }


def _split(name: str, raw: Raw) -> GenerationSplit:
    return split_of(name, raw.rows, raw.references, raw.ids, raw.groups)


def _hold_out(raw: Raw, fraction: float, seed: int, purpose: str, noun: str) -> tuple[Raw, Raw]:
    """Return the remaining rows, and those of a random fraction of the prompts."""
    if raw.groups:
        drawn_rows = groups.hold_out(np.array(raw.groups, dtype=object), None, fraction, seed, purpose)
        return chosen(raw, lambda index: not drawn_rows[index]), chosen(raw, lambda index: bool(drawn_rows[index]))
    prompts = prompt_keys(raw)
    kinds = sorted(set(prompts))
    held = -int(-len(kinds) * fraction // 1)  # rounded up
    if min(held, len(kinds) - held) < LEAST_ROWS:
        raise HarnessError(
            f"task.{purpose}_fraction={fraction} of {len(kinds)} different {noun}s leaves {held} for {purpose} and "
            f"{len(kinds) - held} for training, and each needs at least {LEAST_ROWS}. Change the fraction, add rows, "
            f"or give a {purpose} split of your own (task.{purpose}_path)."
        )
    drawn = np.random.default_rng(seed).permutation(len(kinds))[:held]
    out = {kinds[index] for index in drawn}
    return chosen(raw, lambda index: prompts[index] not in out), chosen(raw, lambda index: prompts[index] in out)


def _drawn(raw: Raw, count: int, seed: int, key: str, what: str) -> Raw:
    if count > len(raw):
        raise HarnessError(f"{key}={count} exceeds the {len(raw)} {what} rows: lower it, or add rows.")
    return _at_most(raw, count, seed)


def _at_most(raw: Raw, count: int | None, seed: int) -> Raw:
    if count is None or count >= len(raw):
        return raw
    kept = set(np.random.default_rng(seed).permutation(len(raw))[:count].tolist())
    return chosen(raw, lambda index: index in kept)


def _folds(raw: Raw, folds: int, seed: int, noun: str) -> list[tuple[Raw, Raw]]:
    if raw.groups:
        made = groups.folds(np.array(raw.groups, dtype=object), None, folds, seed)
        return [(chosen(raw, set(rest).__contains__), chosen(raw, set(held).__contains__)) for rest, held in made]
    prompts = prompt_keys(raw)
    kinds = sorted(set(prompts))
    if len(kinds) < LEAST_ROWS * folds:
        raise HarnessError(
            f"task.folds={folds} needs {LEAST_ROWS * folds} different training {noun}s, and there are {len(kinds)}. "
            f"Set task.folds to at most {max(len(kinds) // LEAST_ROWS, 2)}, or choose task.validation=split."
        )
    order = np.random.default_rng(seed).permutation(len(kinds))
    fold_of = {kinds[index]: place % folds for place, index in enumerate(order)}
    return [
        (
            chosen(raw, lambda index, n=n: fold_of[prompts[index]] != n),  # type: ignore[misc]  # a default binds n
            chosen(raw, lambda index, n=n: fold_of[prompts[index]] == n),  # type: ignore[misc]
        )
        for n in range(folds)
    ]


def content_of(made: Mapping[str, Any]) -> list[Any]:
    """Return the JSON-able content of the splits, for fingerprints."""
    parts = [made["train"], made["validation"], made["test"], *(part for fold in made["folds"] for part in fold)]
    return [
        [
            part.name,
            [row.content for row in part.rows],
            [list(each) for each in part.targets],
            *groups.content(part.groups),
        ]
        for part in parts
        if part is not None
    ]


def facts_of(task: TextSettings, made: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return counts and other statistics of the splits."""
    train, validation, test = made["train"], made["validation"], made["test"]
    words = np.array([len(row.completion.split()) for row in train.rows])
    train_prompts = {row.shown for row in train.rows if row.prompt}
    near = {
        key: 0 if part is None else near_copies(_compared(part), _compared(train))
        for (key, *_), part in zip(NEAR, (test, validation), strict=True)
    }
    return {
        "source": source,
        "rows": {"train": len(train), "validation": 0 if validation is None else len(validation), "test": len(test)},
        "references_mean": round(float(np.mean([len(each) for each in test.targets])), 2),
        "words_mean": round(float(words.mean()), 1),
        "words_p95": round(float(np.percentile(words, 95)), 1),
        "overlap_train_test": _shared(test, train_prompts),
        "overlap_train_validation": 0 if validation is None else _shared(validation, train_prompts),
        "overlap_validation_test": 0 if validation is None else _shared(test, set(validation.texts)),
        "validation": task.validation or "split",
        "selected_with": (
            f"selected in {task.folds} folds of the training rows"
            if validation is None
            else f"selected on {len(validation)} validation rows"
        ),
        "shots": task.shots,
        "draw": task.draw,
        **near,
        **groups.facts_of(_groups(made)),
    }


def _shared(split: Split, prompts: set[str]) -> int:
    return sum(text in prompts for text in split.texts if text)


def warnings_of(facts: Mapping[str, Any], noun: str = "prompt") -> list[str]:
    """Return sentences about rows that are in two splits."""
    found = []
    if count := facts["overlap_train_test"]:
        found.append(f"{count} test {noun}s are training {noun}s, too.")
    if count := facts["overlap_train_validation"]:
        found.append(f"{count} validation {noun}s are training {noun}s, too.")
    if count := facts["overlap_validation_test"]:
        found.append(f"{count} test {noun}s are validation {noun}s, too.")
    for key, split, other in NEAR:
        found += told(facts[key], facts["rows"][split], split, other, "groups" in facts)
    return found


def _groups(made: Mapping[str, Any]) -> dict[str, Any]:
    return {part.name: part.groups for part in (made["train"], made["validation"], made["test"]) if part is not None}


def _compared(split: GenerationSplit) -> list[str]:
    """Return the texts by which rows are alike: their prompts, or the texts of rows without one."""
    return [" ".join((row.shown if row.prompt else row.completion).lower().split()) for row in split.rows]
