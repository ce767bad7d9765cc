"""How often the answers of a cell are wrong when it answers only the rows that it is most confident of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.formatting.values import plural
from harness.records.study_files import TEST_OUTSIDE
from harness.report.figures.base import INK, PALETTE, Drawing, Subject, render
from harness.report.reading.predictions import Predictions, Unreadable
from harness.statistics.confidence.abstention import area_under_risk, risk_coverage, threshold
from harness.statistics.confidence.temperature import fit_temperature, negative_log_likelihood, scaled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WANTED = (0.90, 0.95, 0.99)  # precisions whose thresholds are shown
_GRID = np.linspace(0.02, 1.0, 99)  # coverages at which curves of seeds are averaged
_LEAST = 50  # validation rows from which on thresholds are of use


@dataclass(frozen=True)
class _Seed:
    """One run: calibrated confidences and whether its answers are right.

    Attributes:
        temperature: fitted on the validation rows; 1 without these.
        losses: negative log likelihood of the test rows, before and after.
        validation, test, outside: (confidences, right) of these rows; None without them.
    """

    temperature: float
    losses: tuple[float, float]
    validation: tuple[Any, Any] | None
    test: tuple[Any, Any]
    outside: tuple[Any, Any] | None


def abstention(subject: Subject) -> Drawing | None:
    """Draw the risk-coverage curve of the recommended cell, or else of the best; None without probabilities."""
    row = subject.recommended or subject.question.best
    found = subject.predictions(row) if row is not None else None
    if row is None or found is None:
        return None
    try:
        seeds = _seeds(found)
    except Unreadable:
        return None  # an archive has no probabilities
    which = "the recommended cell" if row is subject.recommended else "the best cell"
    caption = (
        f"{subject.where}: share of wrong answers of {subject.label(row)}, {which}, if it answers only the test rows "
        "of which it is most confident"
    )
    caption += f" (mean of {plural(len(seeds), 'seed')})." if len(seeds) > 1 else "."
    if seeds[0].validation is not None:
        one, other = (float(np.mean([seed.losses[place] for seed in seeds])) for place in (0, 1))
        caption += (
            f" Confidence is calibrated by a temperature of {np.mean([seed.temperature for seed in seeds]):.2f}, from "
            f"validation rows: the loss of the test rows goes from {one:.3f} to {other:.3f}."
        )
    points = [(wanted, _at(seeds, wanted)) for wanted in WANTED] if _enough(seeds) else []
    caption += "".join(
        f" For a precision of {wanted:.0%}, "
        + ("validation rows show no threshold." if at is None else f"it answers {at[0]:.1%}, {1 - at[1]:.1%} right.")
        for wanted, at in points
    )
    if points:
        caption += " Thresholds are from validation rows, and hold with a probability of 95 %."
    if seeds[0].outside is not None:
        caption += " The dashed line counts test rows out of scope, every answer to which is wrong, as well."
    shown = [(wanted, at) for wanted, at in points if at is not None]
    return render(f"abstention-{subject.slug}", _plot(seeds, shown), caption)


def _seeds(found: Predictions) -> list[_Seed]:
    if (stored := found.metadata("labels")) is None:
        raise Unreadable("files of earlier versions do not name the classes of probabilities")
    index = {name: place for place, name in enumerate(json.loads(stored))}
    if not {*found.labels} <= {*index}:
        raise Unreadable("labels are hidden")  # as in archives of texts
    test, validation = (found.column("probabilities", split) for split in ("test", "validation"))
    outside = found.column("probabilities", TEST_OUTSIDE)
    targets = np.array([index[name] for name in found.labels])
    seeds = []
    for place, probabilities in enumerate(test):
        temperature, known = 1.0, None
        if len(validation[place]):
            of_rows = np.array([index[name] for name in found.column("label", "validation")[place]])
            temperature = fit_temperature(validation[place], of_rows)
            known = _judged(validation[place], temperature, of_rows)
        after = scaled(probabilities, temperature)
        losses = negative_log_likelihood(probabilities, targets), negative_log_likelihood(after, targets)
        beyond = None
        if len(outside[place]):
            beyond = _judged(outside[place], temperature, np.full(len(outside[place]), -1))
        seeds.append(_Seed(temperature, losses, known, _judged(probabilities, temperature, targets), beyond))
    return seeds


def _judged(probabilities: npt.NDArray[Any], temperature: float, targets: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Return the confidences (n,), and whether the answers are right (n,)."""
    return scaled(probabilities, temperature).max(axis=1), probabilities.argmax(axis=1) == targets


def _enough(seeds: list[_Seed]) -> bool:
    return all(seed.validation is not None and len(seed.validation[0]) >= _LEAST for seed in seeds)


def _at(seeds: list[_Seed], wanted: float) -> tuple[float, float] | None:
    """Return the mean coverage and risk of the test rows at the thresholds of validation rows; None without any."""
    coverages, risks = [], []
    for seed in seeds:
        assert seed.validation is not None
        found = threshold(*seed.validation, wanted)
        if found is None:
            return None
        sure, right = seed.test
        kept = sure >= found.confidence
        coverages.append(float(kept.mean()))
        risks.append(float(1 - right[kept].mean()) if kept.any() else 0.0)
    return float(np.mean(coverages)), float(np.mean(risks))


def _curve(parts: list[tuple[Any, Any]]) -> npt.NDArray[np.float64]:
    """Return the mean risk in % over seeds, at the coverages of the grid."""
    curves = [np.interp(_GRID, *risk_coverage(sure, right)) for sure, right in parts]
    return np.asarray(100 * np.mean(curves, axis=0))


def _plot(seeds: list[_Seed], points: list[tuple[float, tuple[float, float]]]) -> Any:
    mixed = [
        (np.concatenate([seed.test[0], seed.outside[0]]), np.concatenate([seed.test[1], seed.outside[1]]))
        for seed in seeds
        if seed.outside is not None
    ]
    area = float(np.mean([area_under_risk(*seed.test) for seed in seeds]))

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(100 * _GRID, _curve([seed.test for seed in seeds]), color=PALETTE[0], lw=2, label="test rows")
        if mixed:
            axes.plot(100 * _GRID, _curve(mixed), color=PALETTE[1], lw=2, ls="--", label="with rows out of scope")
            axes.legend(loc="upper left")
        for wanted, (coverage, risk) in points:
            axes.plot(100 * coverage, 100 * risk, "o", color=INK, ms=5)
            axes.annotate(
                f"{100 * wanted:.0f} %", (100 * coverage, 100 * risk), xytext=(-4, 7), textcoords="offset points",
                ha="right", fontsize=9.5,
            )  # fmt: skip
        axes.set_xlim(0, 100)
        axes.set_ylim(0, None)
        axes.grid()
        axes.set_xlabel(f"answered, % of rows (area under the curve of test rows: {100 * area:.2f} %)")
        axes.set_ylabel("wrong, % of answers")

    return plot
