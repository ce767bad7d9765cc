"""Which trial should be confirmed: what the chosen configuration scores on test data, by rule.

    python -m tests.benchmarks.selection runs TABLE.json --task task=banking77 task.shots=5 --method lora --seeds 8
    python -m tests.benchmarks.selection rules TABLE.json ... --output tests/benchmarks/results/selection.json

`runs` trains configurations of a method at several seeds, each with its validation score and its test score:
configuration 0 is the documented default, the others are those that `tune.sampler=random` meets. It goes on where it
was interrupted.

`rules` replays tunings on such tables: it draws the trials and their training seeds, applies a rule, and notes the mean
test score of the choice over all seeds. Differences are paired: all rules meet the same trials.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.config.schema import FRESH_SEEDS as FRESH
from harness.config.schema import RERANKED, TuneConfig
from harness.design.prepared_cell import PreparedCell, prepare_cells
from harness.records.files import read_json, write_json
from harness.records.run_spec import RunBatch
from harness.runs import execute as runs
from harness.runs.costs import Costs
from harness.search.samplers import point, quantile
from tests.records.test_signature_golden import composed

FIRST_SEED = 1000
REPEATS = 4000  # tunings that are replayed for each table
TRIALS = (4, 8)  # of a tuning
Scores = npt.NDArray[np.float64]


def main() -> None:
    """Make a table of runs, or replay the rules on tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    table = steps.add_parser("runs")
    table.add_argument("table", type=Path)
    table.add_argument("--task", nargs="+", default=["task=demo", "task.shots=8"])
    table.add_argument("--method", default="lora")
    table.add_argument("--configurations", type=int, default=24)
    table.add_argument("--seeds", type=int, default=8)
    table.add_argument("--more", nargs="*", default=[])
    table.set_defaults(step=lambda asked: make_table(asked.table, asked))
    rules = steps.add_parser("rules")
    rules.add_argument("tables", type=Path, nargs="+")
    rules.add_argument("--output", type=Path)
    rules.set_defaults(step=lambda asked: replay_all(asked.tables, asked.output))
    asked = parser.parse_args()
    asked.step(asked)


def make_table(path: Path, asked: argparse.Namespace) -> None:
    """Train what the table lacks, one run after another, and write it after each."""
    request = composed(" ".join([*asked.task, f"method={asked.method}", *asked.more]))
    (cell,) = prepare_cells(request.cells, request.config)
    runs._measured_serving = lambda *_: Costs()  # latency takes longer than these runs, and nothing here reads it
    table = read_json(path) or {
        "asked": [*asked.task, f"method={asked.method}", *asked.more],
        "rows": cell.facts["rows"],
        "metric": cell.cell.metric,
        "configurations": [_values(cell, number) for number in range(asked.configurations)],
        "runs": [],
    }
    done = {(run["configuration"], run["seed"]) for run in table["runs"]}
    for seed in range(FIRST_SEED, FIRST_SEED + asked.seeds):
        for number, values in enumerate(table["configurations"]):
            if (number, seed) not in done:
                table["runs"].append({"configuration": number, "seed": seed, **_run(cell, seed, values)})
                write_json(path, table)


def _values(cell: PreparedCell, number: int) -> dict[str, Any]:
    """Return the configuration of a trial of `tune.sampler=random`; 0 is the documented default."""
    if number == 0:
        return {}
    space, seed = cell.cell.space, TuneConfig.seed
    return {key: each.decode(quantile(each.distribution, point(seed, key, number))) for key, each in space.items()}


def _run(cell: PreparedCell, seed: int, values: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        spec = cell.spec(Path(directory), "selection", "confirm", seed, values)
        runs.execute(RunBatch((spec,)))
        record = spec.result()
        assert record is not None
        metrics, seconds = record.metrics, record.cost["total_seconds"]
        metric = cell.cell.metric
        return {"val": metrics["val"].get(metric), "test": metrics["test"].get(metric), "seconds": seconds}


def replay_all(paths: list[Path], output: Path | None) -> None:
    """Replay all rules on all tables, and print or write the mean test score of what they choose."""
    found = {}
    for path in paths:
        table = read_json(path)
        for trials in TRIALS:
            found[f"{path.stem}, {trials} trials"] = replay(table, trials)
    result = {"repeats": REPEATS, "reranked": RERANKED, "fresh_seeds": FRESH, "tables": found}
    print(json.dumps(result, indent=1))
    if output:
        write_json(output, result)


def replay(table: dict[str, Any], trials: int) -> dict[str, Any]:
    """Return for each rule the mean test score of its choices, less that of the best trial at a shared seed.

    Args:
        table: of `make_table`.
        trials: configurations a tuning tries, the default among them.
    """
    metric_rows = table["rows"]["validation"] or table["rows"]["train"]
    seeds = sorted({run["seed"] for run in table["runs"]})
    count = len(table["configurations"])
    whole = [seed for seed in seeds if sum(run["seed"] == seed for run in table["runs"]) == count]
    val, test = np.full((2, count, len(whole)), np.nan)
    for run in table["runs"]:
        if run["seed"] in whole:
            place = run["configuration"], whole.index(run["seed"])
            val[place], test[place] = run["val"], run["test"]
    generator = np.random.default_rng(0)
    scores: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        order = np.concatenate([[0], 1 + generator.permutation(count - 1)])
        chosen = _choices(val, order[:trials], metric_rows, generator)
        if (more := trials + RERANKED * FRESH) <= count and len(whole) >= RERANKED + FRESH:
            later = _choices(val, order[:more], metric_rows, generator)
            chosen[f"best of {more} trials, shared seed"] = later["best, shared seed"]
        for name, choice in chosen.items():
            scores.setdefault(name, []).append(_test_of(test, *choice))
    base = np.array(scores["best, shared seed"])
    rules = {
        name: {
            "test": round(100 * float(np.mean(values)), 3),
            "difference": round(100 * float(np.mean(np.array(values) - base)), 3),
            "standard_error": round(100 * float(np.std(np.array(values) - base) / np.sqrt(REPEATS)), 3),
        }
        for name, values in scores.items()
    }
    by_seed = np.nanmean(test, axis=1)
    asked = [each for each in table["asked"] if not each.startswith("task.folder=")]  # says where, not what
    return {
        "asked": asked, "configurations": count, "seeds": len(whole), "validation_rows": metric_rows,
        "spread_of_configurations": round(100 * float(np.std(by_seed)), 3),
        "spread_of_seeds": round(100 * float(np.mean(np.std(test, axis=1))), 3),
        "rules": rules,
    }  # fmt: skip


def _choices(
    val: Scores, tried: npt.NDArray[np.int64], rows: int, generator: np.random.Generator
) -> dict[str, tuple[int, list[int]]]:
    """Return what each rule chooses: the configuration, and the seeds at which the tuning saw it."""
    seeds = val.shape[1]
    shared = np.full(len(tried), generator.integers(seeds))
    own = generator.permutation(np.resize(generator.permutation(seeds), len(tried)))
    found: dict[str, tuple[int, list[int]]] = {"default": (0, [])}
    for kind, at in (("shared seed", shared), ("own seeds", own)) if seeds > FRESH else (("shared seed", shared),):
        scores = val[tried, at]
        best = int(np.argmax(scores))
        found[f"best, {kind}"] = int(tried[best]), [int(at[best])]
        error = np.sqrt(scores[best] * (1 - scores[best]) / rows)
        stays = 0 if scores[best] - scores[0] <= error else best
        found[f"one standard error, {kind}"] = int(tried[stays]), [int(at[stays])]
        if seeds >= RERANKED + FRESH:
            top = np.argsort(-scores, kind="stable")[:RERANKED]
            again = generator.choice(np.setdiff1d(np.arange(seeds), at[top]), FRESH, replace=False)
            means = [(scores[one] + val[tried[one], again].sum()) / (1 + FRESH) for one in top]
            first = int(top[int(np.argmax(means))])
            found[f"rerank, {kind}"] = int(tried[first]), [int(at[first]), *map(int, again)]
    return found


def _test_of(test: Scores, configuration: int, seen: list[int]) -> float:
    """Return the mean test score of a configuration at seeds that the tuning did not see, if there are any."""
    fresh = [seed for seed in range(test.shape[1]) if seed not in seen] or seen
    return float(test[configuration, fresh].mean())


if __name__ == "__main__":
    main()
