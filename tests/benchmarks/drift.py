"""How often `harness watch` tells drift: in replays of unchanged traffic, and soon after a change.

    HARNESS_DATA=... python -m tests.benchmarks.drift --replays 100 --output tests/benchmarks/results/drift.json

All rows of BANKING77 are pooled, so that validation rows and traffic are of one distribution (its own test file has
another class mix than its training file). Ten intents are left out, to come as new ones; ten others are named as out of
scope (`task.oos_label`), to choose a detector. Traffic is drawn with replacement from the test rows.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.augment.noise import typo
from harness.records.files import write_json
from harness.serve.loaded import Loaded
from harness.serve.loading import load_one
from harness.serve.watching.judging import BLOCK, CLASSES, CONFIDENCE, DISTANCE, WEEK, Look, looks
from harness.serve.watching.windows import Reference, Window, reference_of
from harness.statistics.confidence.two_shares import share_interval

METHODS = ("linear_probe", "knn")
LEFT_OUT, OUT_OF_SCOPE = 10, 10  # intents
REPLAYS = 200
WEEKS = 100  # of a replay of unchanged traffic
GARBLED = 1000  # test rows of which there are versions with typing errors
BEFORE = 10  # weeks before a change
KINDS = (CLASSES, CONFIDENCE, DISTANCE)
SOON = (500, 2000)  # requests after a change in which it is to be told
WEEKLY = (1, 10)  # blocks of requests in a week
Rows = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Rows]  # rows of `Judgements`


@dataclass(frozen=True)
class Judgements:
    """How a model judges the rows of all kinds, one kind after another: the bins that each falls into."""

    classes: Rows
    confidence: Rows
    score: Rows


def main() -> None:
    """Train the models, replay, and write the shares of replays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache-dir", default="~/.cache/harness")
    parser.add_argument("--replays", type=int, default=REPLAYS)
    parser.add_argument(
        "--soon", type=int, nargs="+", default=SOON, help="requests after a change in which it is to be told"
    )
    parser.add_argument("--weekly", type=int, nargs="+", default=WEEKLY, help=f"blocks of {BLOCK} requests in a week")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    asked = parser.parse_args()
    table = _rows()
    labels = sorted({label for _, label in table})
    drawn = random.Random(0).sample(labels, LEFT_OUT + OUT_OF_SCOPE)
    new, outside = drawn[:LEFT_OUT], drawn[LEFT_OUT:]
    results: dict[str, Any] = {"weeks": WEEKS, "new": new, "outside": outside}
    with tempfile.TemporaryDirectory() as name:
        for method in asked.methods:
            model, test = _trained(Path(name), method, table, new, outside, asked.cache_dir)
            results[method] = found = _replayed(model, test, [text for text, label in table if label in new], asked)
            sys.stdout.write(f"{method}: {found}\n")
            write_json(asked.output, results)


def _rows() -> list[tuple[str, str]]:
    """Return the texts and intents of both files, in random order."""
    found: list[tuple[str, str]] = []
    for name in ("train", "test"):
        with (Path(os.environ["HARNESS_DATA"]) / "banking77" / f"{name}.csv").open(encoding="utf-8") as file:
            found += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(found)
    return found


def _trained(
    home: Path, method: str, table: Sequence[tuple[str, str]], new: Sequence[str], outside: Sequence[str], cache: str
) -> tuple[Loaded, list[str]]:
    """Train a model; return it and the texts of its test rows of classes."""
    path = home / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *(row for row in table if row[1] not in new)])
    task = [f"task.path={path}", "task.test_fraction=0.4", "task.validation_fraction=0.2", "task.max_length=64"]
    quoted = ",".join(f'"{label}"' for label in outside)
    command = [sys.executable, "-m", "harness", "task=csv", *task, f"task.oos_label=[{quoted}]", "model=minilm"]
    subprocess.run(
        [*command, f"method={method}", f"runs_dir={home / method}", f"cache_dir={cache}"], check=True, cwd=home,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (folder,) = (home / method).glob("*/runs/*/*/model")
    from harness.config.instantiate import build
    from harness.records.study_files import RunPaths

    data = build(RunPaths(folder.parent).read_config()["task"]).load()
    return load_one(folder, "cpu", cache, "torch"), list(data.test.texts)


def _replayed(model: Loaded, test: list[str], strange: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    reference = reference_of(model.known)
    source = np.random.default_rng(0)
    kinds = [
        test, strange, [_typos(text, 0.1, source) for text in test[:GARBLED]],
        [_typos(text, 0.3, source) for text in test[:GARBLED]],
    ]  # fmt: skip
    judged = _judged(model, reference, [text for texts in kinds for text in texts])
    usual, new, one, many = (
        np.arange(end - len(texts), end)
        for texts, end in zip(kinds, np.cumsum([len(each) for each in kinds]).tolist(), strict=True)
    )
    intents = np.unique(judged.classes[usual])
    found: dict[str, Any] = {
        "detector": model.detector, "reference_rows": len(reference.part.right), "test_rows": len(test),
        "accuracy": float(model.known.parts["test"].right.mean()), "runs": [],
    }  # fmt: skip
    unchanged = partial(_mixed, usual, usual, 0.0)
    changes: dict[str, Callable[[np.random.Generator], Draw]] = {
        "ten intents three times as often": lambda draws: partial(
            _weighted, np.where(np.isin(judged.classes[usual], draws.choice(intents, 10, replace=False)), 3.0, 1.0)
        ),
        "ten new intents, 10 % of the requests": lambda _: partial(_mixed, usual, new, 0.1),
        "typos in 10 % of the words of 20 % of the texts": lambda _: partial(_mixed, usual, one, 0.2),
        "typos in 30 % of the words of 20 % of the texts": lambda _: partial(_mixed, usual, many, 0.2),
    }
    for weekly in asked.weekly:
        replay = partial(_replay, model, reference, judged, weekly)
        for soon in asked.soon:
            run = {"requests_a_week": BLOCK * weekly, "soon": soon, "replays": asked.replays}
            for name, change in changes.items():
                run[name] = _told(replay, unchanged, change, soon, asked.replays)
            found["runs"].append(run)
            sys.stdout.write(f"{run}\n")
            sys.stdout.flush()
        found["runs"][-1]["unchanged"] = _alarms(replay, unchanged, weekly, asked.replays)
    return found


def _told(
    replay: Callable[..., list[Look]], unchanged: Draw, change: Callable[[np.random.Generator], Draw], soon: int,
    replays: int,
) -> dict[str, Any]:  # fmt: skip
    """Return in what share of replays a change is told, and by what."""
    hits, seen = 0, dict.fromkeys(KINDS, 0)
    for number in range(replays):
        draws = np.random.default_rng(10_000 + number)
        # A change begins anywhere between two looks.
        before = BEFORE * BLOCK + int(draws.integers(BLOCK))
        told = replay(draws, [(before, unchanged), (soon, change(draws))], before)
        hits += bool(told)
        for kind in {each.kind for look in told for each in look.findings if each.drift}:
            seen[kind] += 1
    return _share(hits, replays) | {"by_kind": seen}


def _alarms(replay: Callable[..., list[Look]], unchanged: Draw, weekly: int, replays: int) -> dict[str, Any]:
    """Return how many weeks of unchanged traffic have an alarm."""
    weeks = []  # of each replay, those with an alarm
    for number in range(replays):
        told = replay(np.random.default_rng(number), [(WEEKS * weekly * BLOCK, unchanged)], None)
        weeks.append(len({(look.number - 1) // weekly for look in told}))
    return {
        "replays": replays, "weeks_with_an_alarm": sum(weeks) / (WEEKS * replays),
        "replays_with_over_5_of_100": sum(each > 0.05 * WEEKS for each in weeks) / replays,
        "replays_without_an_alarm": weeks.count(0) / replays,
    }  # fmt: skip


def _judged(model: Loaded, reference: Reference, texts: list[str]) -> Judgements:
    found = model.judged(texts, None)
    assert model.detector is not None
    scores = reference.scores[model.detector]
    assert found.confidence is not None
    assert found.score is not None
    return Judgements(
        found.predictions.argmax(axis=1),
        np.searchsorted(reference.confidence.values, found.confidence, side="right"),
        np.searchsorted(scores.values, found.score, side="right"),
    )


def _replay(
    model: Loaded, reference: Reference, judged: Judgements, weekly: int, draws: np.random.Generator,
    phases: Sequence[tuple[int, Draw]], changed: int | None,
) -> list[Look]:  # fmt: skip
    """Return the looks that tell drift, of a change only those at some of its requests; a week has `weekly` blocks."""
    rows = np.concatenate([draw(draws, count) for count, draw in phases])
    classes, confidence, score = judged.classes[rows], judged.confidence[rows], judged.score[rows]
    bins = len(reference.confidence.values) + 1
    windows = []
    for start in range(0, len(classes) - BLOCK + 1, BLOCK):
        part = slice(start, start + BLOCK)
        windows.append(
            Window(
                "m", "", *_times(start // BLOCK, weekly), BLOCK,
                np.bincount(classes[part], minlength=len(model.labels)),
                np.bincount(confidence[part], minlength=bins), model.detector,
                np.bincount(score[part], minlength=bins), 0, 0, 0, 0,
            )
        )  # fmt: skip
    # Before a change the looks of the last weeks suffice: those that the change takes part in reach no further back.
    skipped = 0 if changed is None else changed // BLOCK - 8
    found = looks(windows[skipped:], reference, (0, 0), model.labels)
    return [look for look in found if look.drift and (changed is None or look.rows + skipped * BLOCK > changed)]


def _times(block: int, weekly: int) -> tuple[str, str]:
    """Return begin and end of a block."""
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    return (begin + block * WEEK / weekly).isoformat(), (begin + (block + 1) * WEEK / weekly).isoformat()


def _weighted(weights: npt.NDArray[np.float64], draws: np.random.Generator, count: int) -> Rows:
    return draws.choice(len(weights), count, p=weights / weights.sum())


def _mixed(usual: Rows, others: Rows, share: float, draws: np.random.Generator, count: int) -> Rows:
    return np.where(draws.random(count) < share, draws.choice(others, count), draws.choice(usual, count))


def _typos(text: str, rate: float, draws: np.random.Generator) -> str:
    """Return a text with errors in a share of its words of three or more letters, at least in one."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= 3 and word.isalpha()]
    chosen = [place for place in long if draws.random() < rate] or ([int(draws.choice(long))] if long else [])
    for place in chosen:
        words[place] = typo(words[place], draws)
    return " ".join(words)


def _share(hits: int, replays: int) -> dict[str, Any]:
    low, high = share_interval(hits / replays, replays, 0.95)
    return {"told": hits / replays, "low": round(max(low, 0.0), 4), "high": round(min(high, 1.0), 4)}


if __name__ == "__main__":
    main()
