"""Whether verdicts over tunings and draws hold on real runs, not only in simulated populations.

    python -m tests.benchmarks.replicates make draws DIRECTORY --replicates 48
    python -m tests.benchmarks.replicates make tunings DIRECTORY --method lora --replicates 60
    python -m tests.benchmarks.replicates draws DIRECTORY --json tests/benchmarks/results/draws.json
    python -m tests.benchmarks.replicates tunings DIRECTORY... --json tests/benchmarks/results/tunings.json

`make` runs a study with many replicates and goes on where it was interrupted.

`draws` (BANKING77, 5 shots, closed-form methods) takes 8 of the draws of training rows at random as the study, and the
mean over all others as the truth. Wanted: the interval of each pair's difference over the 8 draws covers that mean in
90 to 100 % of the resamples. Beside it stand the interval that a study of one draw gives, and Student's interval of
the draws' differences alone: all draws meet the same test rows, so what the pooled interval adds for other rows is not
needed here.

`tunings` compares a method with itself, tuned at other seeds: replicate r of a study is what `tune.seed` = r gives. Any
"better" or "worse" is wrong. Wanted: in at most 6.4 % of the pairs where three tunings vary on either side
(`confirm.vary=[seed,tuning]`); beside it, pairs of one tuning each, which is what `confirm.vary=[seed]` compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.cli.main import main as harness
from harness.config.schema import ReportConfig
from harness.records.files import read_json, write_json
from harness.report.cells.cell_summary import CellSummary, place_of, rows
from harness.report.cells.row_predictions import read_predictions
from harness.report.reading.study import load
from harness.runs import execute as runs
from harness.runs.costs import Costs
from harness.statistics import compare
from tests.helpers.small_dataset import shorten

Scores = npt.NDArray[np.float64]
OF_STUDY = 8  # draws of a study
TUNINGS = 3  # of a study, the default of `confirm.replicates`
RESAMPLES = 200  # of draws
PAIRS, MORE = 50, 1000
COVERED, WRONG = (0.9, 1.0), 0.064  # what is wanted
DRAWS = (
    "task=banking77", "task.shots=5", "task.pool_per_class=1", "method=nearest_mean,knn,linear_probe,lda,zero_shot",
    "tune.trials=1", "confirm.seeds=1", "confirm.vary=[seed,draw]",
)  # fmt: skip
# 240 training rows, and the small model of `_model`.
ALIKE = ("task=demo", "task.shots=8", "tune.trials=4", "confirm.vary=[seed,tuning]")
FEW_STEPS = ("train.epochs=2", "train.batch_size=16")  # 30 of them
ONE_SEED = ("confirm.seeds=1",)  # of methods without random numbers, whose seeds are equal
MARGIN, ALPHA = ReportConfig.margin, 1 - ReportConfig.confidence


def main() -> None:
    """Make a study, or evaluate one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    made = steps.add_parser("make")
    made.add_argument("kind", choices=["draws", "tunings"])
    made.add_argument("directory", type=Path)
    made.add_argument("--method", default="lora")
    made.add_argument("--replicates", type=int, default=48)
    made.set_defaults(step=make)
    for name, evaluate in (("draws", draws), ("tunings", tunings)):
        each = steps.add_parser(name)
        each.add_argument("directory", type=Path, nargs="+")
        each.add_argument("--json", type=Path)
        each.set_defaults(step=lambda asked, evaluate=evaluate: _show(evaluate(asked.directory), asked.json))
    asked = parser.parse_args()
    asked.step(asked)


def _show(found: dict[str, Any], path: Path | None) -> None:
    print(json.dumps(found, indent=1))
    if path:
        write_json(path, (read_json(path) or {}) | found if path.exists() else found)


def make(asked: argparse.Namespace) -> None:
    """Run the study in this process."""
    runs._measured_serving = lambda *_: Costs()  # latency takes longer than these runs, and nothing here reads it
    directory = asked.directory.resolve()
    if asked.kind == "draws":
        what = list(DRAWS)
    else:
        what = [
            *ALIKE,
            f"method={asked.method}",
            "model=own",
            f"model.path={_model(directory.parent / 'model')}",
            "model.name=minilm_64",
        ]
        what += FEW_STEPS if asked.method == "lora" else ONE_SEED
    sys.argv = [
        "harness", "-m", *what, f"confirm.replicates={asked.replicates}", "launch.kind=inline", "launch.fuse=off",
        "keep=none", f"study={directory.name}", f"runs_dir={directory.parent}",
        f"reports_dir={directory.parent / 'reports'}", f"cache_dir={directory.parent / 'cache'}",
    ]  # fmt: skip
    harness()


def _model(directory: Path) -> Path:
    """Write a model that runs in milliseconds: a random block of width 64 above MiniLM's reduced word embeddings."""
    import torch
    from transformers import AutoModel, BertConfig, BertModel

    if not (directory / "config.json").exists():
        source = shorten(1)
        shutil.copytree(source, directory)
        torch.manual_seed(0)
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
        with torch.no_grad():
            words = AutoModel.from_pretrained(source).get_input_embeddings().weight
            model = BertModel(BertConfig(vocab_size=len(words), **sizes), add_pooling_layer=False)
            centered = words - words.mean(dim=0)
            reduced = centered @ torch.linalg.svd(centered, full_matrices=False)[2][:64].T
            model.get_input_embeddings().weight.copy_(reduced)
        model.save_pretrained(directory)
    return directory


def draws(directories: list[Path]) -> dict[str, Any]:
    """Resample studies of some draws from a study of many."""
    cells = {row.cell.method: _scores(row) for row in rows(load(directories[0]))}
    names, scores = list(cells), list(cells.values())
    count = len(scores[0])
    means = np.array([each.mean(axis=(1, 2)) for each in scores])  # (K, R)
    generator = np.random.default_rng(0)
    pairs = list(combinations(range(len(names)), 2))
    known, single, alone = np.zeros((3, len(pairs)))
    # Of a mean of the draws, and of the mean that is held out
    reach = stats.t.ppf(1 - ALPHA / 2, OF_STUDY - 1) * np.sqrt(1 / OF_STUDY + 1 / (count - OF_STUDY))
    for _ in range(RESAMPLES):
        order = generator.permutation(count)
        seen, held = np.sort(order[:OF_STUDY]), order[OF_STUDY:]
        labels = [list(range(OF_STUDY))] * len(names)
        of_study = compare([each[seen, 0] for each in scores], MARGIN, ALPHA, replicates=labels, paired=True)
        of_draw = compare([each[order[:1], 0] for each in scores], MARGIN, ALPHA)
        for place, (a, b) in enumerate(pairs):
            differences = means[a] - means[b]
            truth, seen_ones = float(differences[held].mean()), differences[seen]
            alone[place] += abs(seen_ones.mean() - truth) <= reach * seen_ones.std(ddof=1)
            for found, hits in ((of_study, known), (of_draw, single)):
                limits = found.differences[a][b]
                assert limits is not None
                hits[place] += limits.low <= truth <= limits.high
    share = known / RESAMPLES
    return {
        "draws": count, "of_study": OF_STUDY, "resamples": RESAMPLES,
        "methods": {name: _percent(means[k].mean()) for k, name in enumerate(names)},
        "pairs": [
            {
                "pair": f"{names[a]} - {names[b]}",
                "difference": _percent((means[a] - means[b]).mean()),
                "deviation_between_draws": _percent((means[a] - means[b]).std(ddof=1)),
                "covered": round(float(share[place]), 4),
                "covered_by_draws_alone": round(float(alone[place] / RESAMPLES), 4),
                "covered_by_one_draw": round(float(single[place] / RESAMPLES), 4),
            }
            for place, (a, b) in enumerate(pairs)
        ],
        "ok": bool((share >= COVERED[0]).all()),
    }  # fmt: skip


def tunings(directories: list[Path]) -> dict[str, Any]:
    """Compare each study's method with itself, at other tunings."""
    found = {}
    for directory in directories:
        (row,) = rows(load(directory))
        scores = _scores(row)
        count = len(scores)
        means = scores.mean(axis=2)
        generator = np.random.default_rng(0)
        alone = [_differs(scores[[a]], scores[[b]]) for a, b in combinations(range(count), 2)]
        found[row.cell.method] = {
            "tunings": count,
            "configurations": len({json.dumps(record.hyperparameters, sort_keys=True) for record in row.evaluated}),
            "deviation_between_seeds": _percent(np.sqrt(means.var(axis=1, ddof=1).mean()))
            if means.shape[1] > 1
            else 0.0,
            "deviation_between_tunings": _percent(means.mean(axis=1).std(ddof=1)),
            "one_tuning": _shares(iter(alone), list(_drawn(generator, count, 1, PAIRS)), scores),
            "tunings_varied": _shares(
                (_differs(scores[a], scores[b]) for a, b in _drawn(generator, count, TUNINGS, MORE)),
                list(_drawn(generator, count, TUNINGS, PAIRS)),
                scores,
            ),
        }
    varied = [each["tunings_varied"]["of_50_pairs"] for each in found.values()]
    return found | {"ok": float(np.mean(varied)) <= WRONG}


def _shares(every: Iterator[bool], pairs: list[Any], scores: Scores) -> dict[str, Any]:
    many = list(every)
    return {
        "of_50_pairs": round(float(np.mean([_differs(scores[a], scores[b]) for a, b in pairs])), 4),
        "of_more": round(float(np.mean(many)), 4),
        "more": len(many),
    }


def _drawn(generator: np.random.Generator, count: int, size: int, pairs: int) -> Iterator[tuple[Any, Any]]:
    """Draw pairs of studies, each of tunings of its own: disjoint pairs while there are enough tunings."""
    order = np.empty(0, dtype=int)
    for _ in range(pairs):
        if len(order) < 2 * size:
            order = generator.permutation(count)
        yield order[:size], order[size : 2 * size]
        order = order[2 * size :]


def _differs(one: Scores, two: Scores) -> bool:
    """Return whether any verdict of two sets of tunings (R, S, n) of a method is better or worse."""
    labels = [np.repeat(np.arange(len(each)), each.shape[1]).tolist() for each in (one, two)]
    several = len(one) > 1
    flat = [each.reshape(-1, each.shape[2]) for each in (one, two)]
    found = compare(flat, MARGIN, ALPHA, replicates=labels if several else None)
    return any(verdict.word in ("better", "worse") for verdict in found.verdicts)


def _scores(row: CellSummary) -> Scores:
    """Return the scores (R, S, n) of a cell, by replicate and seed."""
    known, places = read_predictions(row).scores, [place_of(record) for record in row.evaluated]
    replicates = sorted({replicate for replicate, _ in places})
    return np.stack([known[[place[0] == each for place in places]] for each in replicates])


def _percent(value: float) -> float:
    return round(100 * float(value), 3)


if __name__ == "__main__":
    main()
