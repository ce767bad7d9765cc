"""A study whose cells were confirmed on the same test rows, and what a report concludes from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.report.analysis.verdicts import Evidence, evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.settings import Settings
from harness.report.reading.study import load
from tests.report.conftest import Builder, asked

ROWS = 1000


def make(
    study: Builder, cells: Mapping[str, tuple[float, float]], seeds: int = 5, metric: str = "accuracy", **sweep: object
) -> None:
    """Write a study whose cells have these accuracies and training seconds; errors fall on the hard rows first.

    Args:
        study: where it is written.
        cells: by method.
        seeds: of each cell.
        metric: accuracy, or ece, which is here the share of errors.
        sweep: more of sweep.yaml.
    """
    ids = [f"banking77.minilm.{name}" for name in cells]
    direction = "minimize" if metric == "ece" else "maximize"
    study.sweep(
        [asked(cell, metric=metric, direction=direction) for cell in ids], **({"confirm": {"seeds": seeds}} | sweep)
    )
    draw = np.random.default_rng(0)
    hard = draw.permutation(ROWS)
    labels = [("card", "cash")[row % 2] for row in range(ROWS)]
    for cell, (accuracy, seconds) in zip(ids, cells.values(), strict=True):
        for seed in range(1, seeds + 1):
            wrong = {*hard[: int(ROWS * (1 - accuracy)) - 5].tolist(), *draw.choice(ROWS, 5, replace=False).tolist()}
            predicted = [
                {"card": "cash", "cash": "card"}[label] if i in wrong else label for i, label in enumerate(labels)
            ]
            test = len(wrong) / ROWS if metric == "ece" else 1 - len(wrong) / ROWS
            record = study.run(
                cell, f"c{seed}", phase="confirm", seed=seed, signature=f"{cell}{seed}",
                metrics={"val": {}, "test": {metric: test}},
                cost={"train_seconds": seconds, "total_seconds": seconds + 4, "latency_p50_seconds": 0.01},
            )  # fmt: skip
            study.predictions(record, labels, predicted)


def judged(study: Builder, settings: Settings | None = None) -> Evidence:
    loaded = load(study.directory)
    return evidence(loaded, rows(loaded), settings or Settings())


def words(found: Evidence) -> dict[str, str | None]:
    (question,) = found.questions
    return {
        row.cell.method: judgement.verdict.word if judgement.verdict else None
        for row, judgement in zip(question.rows, question.judgements, strict=True)
    }
