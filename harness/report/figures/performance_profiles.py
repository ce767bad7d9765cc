"""Performance profiles and interquartile means of methods over comparison groups with one metric (rliable)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.formatting.values import metric_name, percent, plural
from harness.report.cells.datasets import by_dataset
from harness.report.cells.row_names import identity
from harness.report.figures.axes import focus
from harness.report.figures.base import BRIGHT, INK, MOST, RULE, WIDTH, Drawing, Look, Subject, render, short
from harness.statistics.performance_profiles import (
    Estimate,
    Profile,
    behind_best,
    interquartile_mean,
    performance_profile,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BANDS = 4  # maximum methods drawn with bands; more make the lines unreadable


def profiles(subjects: Sequence[Subject]) -> list[Drawing]:
    """Draw a figure for every metric that two groups or more share and two methods have in all of them."""
    by_metric: dict[str, list[Subject]] = {}
    for subject in subjects:
        if any(row.test_values for row in subject.rows):
            by_metric.setdefault(subject.rows[0].cell.metric, []).append(subject)
    return [
        drawing
        for metric, group in by_metric.items()
        if len(group) > 1 and (drawing := _profile(group, metric)) is not None
    ]


def _profile(subjects: Sequence[Subject], metric: str) -> Drawing | None:
    scale = 100 if percent(metric) else 1
    found: dict[str, list[list[float]]] = {}
    for subject in subjects:
        for row in subject.rows:
            if row.test_values:
                found.setdefault(identity(row), []).append([scale * row.better(value) for value in row.test_values])
    whole = {method: runs for method, runs in found.items() if len(runs) == len(subjects)}
    if len(whole) < 2:
        return None
    blocks = by_dataset([subject.rows for subject in subjects])
    # Questions of one data set count as one task of the profile, with the runs of all of them.
    behind = {
        method: [[score for index in block for score in runs[index]] for block in blocks]
        for method, runs in behind_best(whole, [metric] * len(subjects)).items()
    }
    first = subjects[0]
    means = {method: interquartile_mean(runs, first.level) for method, runs in behind.items()}
    order = sorted(behind, key=lambda method: -means[method].value)
    low = min(min(map(min, behind[method])) for method in order[:BRIGHT])
    high = max(max(map(max, behind[method])) for method in order[:BRIGHT])
    thresholds = np.linspace(max(low, 6 * means[order[min(len(order), BRIGHT) // 2]].value - 0.1), high, 121).tolist()
    curves = {method: performance_profile(behind[method], thresholds, first.level) for method in order[:BRIGHT]}
    looks = {key: look for subject in subjects for key, look in subject.looks.items()}
    names = short([row for subject in subjects for row in subject.rows])
    rows = order[:MOST]

    def plot(figure: Figure) -> None:
        height = 0.26 * len(rows) + 0.5
        figure.set_size_inches(WIDTH, 3.0 + height)
        upper, lower = figure.subplots(2, 1, height_ratios=(2.7, height))
        _curves(upper, curves, looks)
        upper.set_xlabel(f"behind the best mean of the question{', points' if scale == 100 else ''}")
        upper.set_ylabel("share of runs")
        _means(lower, rows, means, looks, names)
        lower.set_xlabel(f"interquartile mean behind the best{', points' if scale == 100 else ''}")

    caption = (
        f"Test {metric_name(metric)} over {len(subjects)} questions of {plural(len(blocks), 'data set')}, each score "
        "less the best mean of its question; each data set has the same weight. "
        "Above: the share of runs that are no further behind than so much. Below, with the same marks: the mean of the "
        f"middle half of the runs. Intervals: bootstrap over seeds ({first.confidence}), too narrow below ten seeds."
    )
    if len(order) > BRIGHT:
        caption += f" The profiles are of the best {BRIGHT} of {len(order)}."
    if len(whole) < len(found):
        caption += f" Left out, for lack of a question: {len(found) - len(whole)}."
    return render(f"profile-{metric.replace('_', '-')}", plot, caption)


def _curves(axes: Axes, curves: dict[str, Profile], looks: dict[str, Look]) -> None:
    for method, curve in curves.items():
        color, marker = looks[method]
        x = -curve.thresholds
        axes.plot(x, curve.share, color=color, marker=marker, markevery=20, ms=5, lw=1.5)
        if len(curves) <= _BANDS:
            axes.fill_between(x, curve.low, curve.high, color=color, alpha=0.15, lw=0)
    axes.axvline(0, color=RULE, lw=1)
    axes.set_ylim(-0.02, 1.02)
    axes.margins(x=0.01)
    axes.grid()


def _means(
    axes: Axes, rows: list[str], means: dict[str, Estimate], looks: dict[str, Look], names: dict[str, str]
) -> None:
    behind = [-means[method].value for method in rows]
    shown = focus(behind, minimize=True)
    kept = [means[method] for method, value in zip(rows, behind, strict=True) if not shown.leaves_out(value)]
    low, high = shown.with_ends([-end for each in kept for end in (each.low, each.high)])
    axes.set_xlim(low, high)
    for index, method in enumerate(rows):
        y = len(rows) - 1 - index
        color, marker = looks[method]
        if shown.leaves_out(behind[index]):
            axes.annotate(
                f"{behind[index]:.3g} →", (high, y), xytext=(-5, 0), textcoords="offset points", ha="right", va="center"
            )
            continue
        axes.plot([-means[method].low, -means[method].high], [y, y], color=INK, lw=1.2, solid_capstyle="butt")
        axes.scatter([-means[method].value], [y], color=color, marker=marker, s=40, lw=0, zorder=3)
    axes.set_yticks(range(len(rows) - 1, -1, -1), [names[method] for method in rows])
    for text in axes.get_yticklabels():
        text.set_fontsize(11 if len(rows) <= 15 else 9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x")
