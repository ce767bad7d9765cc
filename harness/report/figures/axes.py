"""Axes of figures: their visible range, ticks, and the legend."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.formatting.values import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def legend(figure: Figure, axes: Axes) -> None:
    """Place the legend of an axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    longest = max(map(len, labels))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4 if longest < 13 else 3 if longest < 18 else 2,
        handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip


@dataclass(frozen=True)
class Range:
    """Visible part of an axis: where the good values are, so that one bad cell does not compress the rest."""

    low: float
    high: float
    minimize: bool
    whole: bool

    def with_ends(self, ends: Sequence[float]) -> tuple[float, float]:
        """Return the limits, widened to include the ends of intervals."""
        pad = 0.02 * (self.high - self.low)
        return min([self.low, *(end - pad for end in ends)]), max([self.high, *(end + pad for end in ends)])

    def leaves_out(self, value: float) -> bool:
        """Return whether a value lies beyond the worse end."""
        return not self.whole and (value > self.high if self.minimize else value < self.low)


def focus(values: Sequence[float], minimize: bool) -> Range:
    """Choose the visible range of an axis.

    Args:
        values: one or more per cell, in the units of the axis.
        minimise: whether lower is better.
    """
    sign = -1 if minimize else 1
    good = sorted(sign * value for value in values)
    top, middle = good[-1], statistics.median(good)
    reach = max(4 * (top - middle), 0.06 * abs(top))
    floor = min(value for value in good if value >= middle - reach)
    whole = floor == good[0]
    pad = _pad(floor, top)
    low, high = sorted((sign * (floor - (1 if whole else 3) * pad), sign * (top + pad)))
    return Range(low, high, minimize, whole)


def around(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis that shows all of these values."""
    pad = _pad(min(values), max(values))
    return min(values) - pad, max(values) + pad


def _pad(low: float, high: float) -> float:
    return 0.08 * (high - low) or 0.02 * abs(high) or 0.01


def beyond(names: Sequence[str]) -> str:
    """Name the cells beyond the axis, as a sentence of a caption."""
    return f" Beyond the axis: {listed(list(names))}." if names else ""


def log_axis(axes: Axes, write: Callable[[float], str]) -> None:
    """Make the x axis of what has been drawn logarithmic, with human-readable numbers."""
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 100 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: write(value))
    axes.xaxis.set_minor_formatter(lambda *_: "")


def whole_numbers(axes: Axes) -> None:
    """Place the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
