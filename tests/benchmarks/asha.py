"""What promotion by rungs saves, and what it costs in score: 64 LoRA configurations of BANKING77, 10 shots, 9 epochs.

    python -m tests.benchmarks.asha record [--trials 64] [--runs-dir runs] [--output tests/benchmarks/results/...]
    python -m tests.benchmarks.asha replay

`record` trains all configurations to their end, once: a study without a pruner, which goes on where it was when it is
started again. Its curves are committed. `replay` lets them arrive in other orders and asks the real rule of promotion
(`harness.search.asha`), with workers that are simulated in steps of training. `tests.benchmarks.speed` has both as
`asha_steps`, and as `asha_wall` the whole of it by the clock.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.schema import TuneConfig
from harness.records.files import read_jsonl, write_json
from harness.search.asha import PromotionRule, TrialStanding
from harness.search.rungs import halving
from tests.benchmarks.banking import TOKENS, Files, write_files
from tests.benchmarks.harness_vs_stock import Benchmark, Measurement, hardware, splits
from tests.benchmarks.programs import run_stock, run_study
from tests.benchmarks.workload import ROOT

PROGRAM = "trainer.py"
STUDY = "asha_curves"  # random draws depend on a study's name
CURVES = ROOT / f"tests/benchmarks/results/{STUDY}.json"
TRIALS, EPOCHS, ORDERS, WORKERS = 64, 9, 5, (2, 8)
MARGIN = 0.005  # half a point
TASK = {"shots": 10, "validation": "pool", "pool_per_class": 5}
ASKED = (
    "task=banking77", *(f"task.{key}={value}" for key, value in TASK.items()), "method=lora", f"train.epochs={EPOCHS}",
    "tune.sampler=random", "confirm.seeds=1",
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One configuration, trained to its end.

    Attributes:
        hyperparameters: by override key.
        val: validation accuracy after each epoch.
        steps: optimizer steps an epoch.
    """

    hyperparameters: dict[str, Any]
    val: tuple[float, ...]
    steps: int


@dataclass(frozen=True)
class Replay:
    """What a search over recorded curves came to.

    Attributes:
        score: the best validation score of the configurations that came to their end, as a study chooses.
        steps: of training.
        ended: how many came to their end.
    """

    score: float
    steps: int
    ended: int


def record(runs_dir: Path, output: Path, trials: int, more: Sequence[str] = ()) -> None:
    """Train every configuration to its end, or go on with that, and write the curves."""
    command = [
        sys.executable, "-m", "harness", "-m", *ASKED, f"tune.trials={trials}", f"study={STUDY}",
        f"runs_dir={runs_dir}", f"reports_dir={runs_dir / 'reports'}", *more,
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT)
    curves = []
    for path in sorted(runs_dir.glob(f"{STUDY}/runs/*/trial*/record.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        lines = [line for line in read_jsonl(path.with_name("metrics.jsonl")) if isinstance(line["epoch"], int)]
        curves.append(
            {
                "hyperparameters": found["hyperparameters"],
                "val": [line["val"]["accuracy"] for line in lines],
                "steps": lines[0]["step"],
            }
        )
    write_json(output, {"asked": [*ASKED, f"tune.trials={trials}", *more], "hardware": hardware(), "curves": curves})


def recorded(path: Path = CURVES) -> list[Curve]:
    """The curves that were recorded, in the order in which they were sampled."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Curve(each["hyperparameters"], tuple(each["val"]), each["steps"]) for each in content["curves"]]


def missing() -> dict[str, Any] | None:
    """Why nothing can be compared: no curves were recorded; None if there are."""
    why = f"{CURVES} is not there: python -m tests.benchmarks.asha record (an hour or more) makes it."
    return None if CURVES.exists() else {"ok": False, "why": why}


def arrivals(curves: Sequence[Curve], order: int) -> list[Curve]:
    """The curves in one of the orders; 0 is that in which they were sampled."""
    shuffled = list(curves)
    if order:
        random.Random(order).shuffle(shuffled)
    return shuffled


def replay(curves: Sequence[Curve], workers: int, factor: int = TuneConfig.reduction_factor) -> Replay:
    """Search by promotion over curves that arrive one after another.

    Args:
        curves: in their order.
        workers: runs at once; each takes as long as it has steps.
        factor: `tune.reduction_factor`.
    """
    ladder = PromotionRule(halving(1, factor, EPOCHS), factor, maximize=True)
    trials: list[TrialStanding] = []
    under_way: list[tuple[float, int]] = []  # when it ends, and which trial
    now, steps = 0.0, 0
    while True:
        while len(under_way) < workers and (number := _next(ladder, trials, len(curves))) is not None:
            before = max(trials[number].values, default=0)
            length = ((ladder.limit(trials[number]) or EPOCHS) - before) * curves[number].steps
            steps += length
            heapq.heappush(under_way, (now + length, number))
        if not under_way:
            ended = [curves[trial.number] for trial in trials if trial.over]
            return Replay(max(max(curve.val) for curve in ended), steps, len(ended))
        now, number = heapq.heappop(under_way)
        limit = ladder.limit(trials[number])
        trials[number] = (
            replace(trials[number], over=True)
            if limit is None
            else replace(trials[number], values={**trials[number].values, limit: curves[number].val[limit - 1]})
        )


def _next(ladder: PromotionRule, trials: list[TrialStanding], total: int) -> int | None:
    """What a free worker does next; the trial's new standing is noted."""
    waiting = ladder.promotable(trials)
    if not waiting and len(trials) < total:
        trials.append(TrialStanding(len(trials), {}))
        return len(trials) - 1
    number = waiting[0] if waiting else None
    if number is None and not any(trial.over for trial in trials):
        number = ladder.best_paused(trials)
    if number is not None:
        trials[number] = replace(trials[number], level=trials[number].level + 1)
    return number


class Steps(Benchmark):
    """Training steps of promotion against those of full runs of the same 64 configurations, in five orders."""

    name = "asha_steps"
    goal = 3.0
    unit = "training steps"
    pairs = ORDERS

    def __init__(self) -> None:
        self._orders: Iterator[int] = iter(())

    def parity(self) -> dict[str, Any]:
        """Scores beside the best of all configurations trained to their end, which random search would find."""
        if (why := missing()) is not None:
            return why
        self._orders = iter(range(ORDERS))
        curves = recorded()
        best = max(max(curve.val) for curve in curves)
        scores = {
            f"{workers} workers": [replay(arrivals(curves, order), workers).score for order in range(ORDERS)]
            for workers in WORKERS
        }
        losses = [best - score for each in scores.values() for score in each]
        return {
            "ok": len(curves) == TRIALS and statistics.mean(losses) <= MARGIN,
            "configurations": len(curves), "full_budget": best, "margin": MARGIN,
            "mean_loss": round(statistics.mean(losses), 5), "largest_loss": round(max(losses), 5), "scores": scores,
        }  # fmt: skip

    def stock(self) -> Measurement:
        """Every configuration to its end."""
        return Measurement(sum(curve.steps * len(curve.val) for curve in recorded()))

    def ours(self) -> Measurement:
        """The next order; the dearer of few and many workers."""
        order = next(self._orders)
        found = {workers: replay(arrivals(recorded(), order), workers) for workers in WORKERS}
        facts = {f"{workers} workers": vars(each) for workers, each in found.items()}
        return Measurement(max(each.steps for each in found.values()), {"order": order} | facts)


class Wall(Benchmark):
    """The whole search by the clock: a process a configuration to its end, against a study with promotion and packs.

    Measured once, and by `parity` already, which compares the best scores of the very searches that are timed.
    """

    name = "asha_wall"
    goal = 6.0
    pairs = 1

    def __init__(self, trials: int = TRIALS) -> None:
        self._trials = trials

    def parity(self) -> dict[str, Any]:
        """The same configurations, and the best validation scores: ours is not more than half a point lower."""
        if (why := missing()) is not None:
            return why
        scores = self._stock.facts["accuracy"], self._ours.facts["accuracy"]
        same = self._ours.facts["same_configurations"]
        return {
            "ok": same and scores[1] >= scores[0] - MARGIN,
            "same_configurations": same, "stock": scores[0], "ours": scores[1], "margin": MARGIN,
        }  # fmt: skip

    def stock(self) -> Measurement:
        """See `parity`."""
        return self._stock

    def ours(self) -> Measurement:
        """See `parity`."""
        return self._ours

    @cached_property
    def _tried(self) -> list[dict[str, Any]]:
        return [curve.hyperparameters for curve in recorded()[: self._trials]]

    @cached_property
    def _stock(self) -> Measurement:
        """Trainer and PEFT, the recorded configurations, on the machine's best split of those measured beforehand."""
        tried = self._tried
        sample = tried[: 2 * max(split.processes for split in splits())]  # two rounds of the most processes
        with tempfile.TemporaryDirectory() as name:
            files = write_files(Path(name), **TASK)
            way = min(splits(), key=lambda split: run_stock(PROGRAM, _options(files, sample, epochs=1), split)[0])
            seconds, found = run_stock(PROGRAM, _options(files, tried, EPOCHS), way)
        best = max(max(each["by_epoch"]) for each in found)
        return Measurement(
            seconds, {"split": str(way), "accuracy": best, "steps": sum(each["steps"] for each in found)}
        )

    @cached_property
    def _ours(self) -> Measurement:
        """A study by the command line, from an empty cache to its report, the confirmation of the best included."""
        overrides = (*ASKED, "tune.pruner=asha", f"tune.trials={self._trials}")
        with tempfile.TemporaryDirectory() as name:
            seconds, records = run_study(Path(name), overrides, STUDY)
        found = [each for each in records if each.phase == "tune"]
        ended = [each.metrics["val"]["accuracy"] for each in found if each.status == "ok"]
        steps = sum(each.cost["steps"] for each in found)
        same = same_configurations(self._tried, [each.hyperparameters for each in found])
        facts = {"accuracy": max(ended), "ended": len(ended), "steps": steps, "same_configurations": same}
        return Measurement(seconds, facts)


def same_configurations(some: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> bool:
    """Whether these are the same configurations, in any order."""
    one, other = (sorted(json.dumps(each, sort_keys=True) for each in those) for those in (some, others))
    return one == other


def _options(files: Files, tried: Sequence[dict[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """Of the stock trainer, for each configuration."""
    return [
        {
            "train": files.train, "validation": files.validation, "tokens": TOKENS, "batch": 32, "epochs": epochs,
            "rank": each.get("method.config.r", 8), "lr": each["train.lr"], "head-lr": each["train.head_lr"],
        }
        for each in tried
    ]  # fmt: skip


def main() -> None:
    """Record the curves, or print what replays of them come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    recording = parts.add_parser("record", help="train all configurations; it goes on where it was")
    recording.add_argument("--trials", type=int, default=TRIALS)
    recording.add_argument("--runs-dir", type=Path, default=Path("runs"))
    recording.add_argument("--output", type=Path, default=CURVES)
    recording.add_argument("--more", nargs="*", default=[], help="further overrides, such as launch.workers=1")
    replaying = parts.add_parser("replay", help="search by promotion over the recorded curves")
    replaying.add_argument("--curves", type=Path, default=CURVES)
    replaying.add_argument("--orders", type=int, default=ORDERS)
    replaying.add_argument("--factors", type=int, nargs="+", default=[TuneConfig.reduction_factor])
    asked = parser.parse_args()
    if asked.what == "record":
        record(asked.runs_dir, asked.output, asked.trials, asked.more)
        return
    if not asked.curves.exists():
        parser.error(f"{asked.curves} is not there: `record` makes it")
    curves = recorded(asked.curves)
    full, best = sum(curve.steps * len(curve.val) for curve in curves), max(max(curve.val) for curve in curves)
    print(f"{len(curves)} configurations to their end: {100 * best:.2f}, {full} steps")
    print("workers factor  points below: mean, largest   share of steps: mean, largest")
    for workers in (1, *WORKERS):
        for factor in asked.factors:
            found = [replay(arrivals(curves, order), workers, factor) for order in range(asked.orders)]
            below, share = [100 * (best - each.score) for each in found], [each.steps / full for each in found]
            scores = f"{statistics.mean(below):18.3f} {max(below):8.2f}"
            print(f"{workers:7} {factor:6}  {scores}   {statistics.mean(share):20.3f} {max(share):8.3f}")
    third = [max(max(curve.val) for curve in arrivals(curves, order)[: len(curves) // 3]) for order in range(1, 1001)]
    print(f"A random third of them, to their ends: {100 * (best - statistics.mean(third)):.3f} points below.")


if __name__ == "__main__":
    main()
