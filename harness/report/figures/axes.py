"""Axes of figures: which part of them is shown, their ticks, and the legend."""

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
    """Name the lines of an axes below the figure."""
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
    """The part of an axis that is shown: where the good values are, so that one bad cell does not press the rest."""

    low: float
    high: float
    minimise: bool
    whole: bool

    def with_ends(self, ends: Sequence[float]) -> tuple[float, float]:
        """Give its limits, made wider where the ends of intervals lie outside."""
        pad = 0.02 * (self.high - self.low)
        return min([self.low, *(end - pad for end in ends)]), max([self.high, *(end + pad for end in ends)])

    def leaves_out(self, value: float) -> bool:
        """Tell whether a value lies beyond the worse end."""
        return not self.whole and (value > self.high if self.minimise else value < self.low)


def focus(values: Sequence[float], minimise: bool) -> Range:
    """Choose the range of an axis.

    Args:
        values: one a cell or more, as the axis shows them.
        minimise: whether less is better.
    """
    sign = -1 if minimise else 1
    good = sorted(sign * value for value in values)
    top, middle = good[-1], statistics.median(good)
    reach = max(4 * (top - middle), 0.06 * abs(top))
    floor = min(value for value in good if value >= middle - reach)
    whole = floor == good[0]
    pad = _pad(floor, top)
    low, high = sorted((sign * (floor - (1 if whole else 3) * pad), sign * (top + pad)))
    return Range(low, high, minimise, whole)


def around(values: Sequence[float]) -> tuple[float, float]:
    """Give the limits of an axis that shows all of these values."""
    pad = _pad(min(values), max(values))
    return min(values) - pad, max(values) + pad


def _pad(low: float, high: float) -> float:
    return 0.08 * (high - low) or 0.02 * abs(high) or 0.01


def beyond(names: Sequence[str]) -> str:
    """Say in a caption which cells an axis leaves out."""
    return f" Beyond the axis: {listed(list(names))}." if names else ""


def log_axis(axes: Axes, write: Callable[[float], str]) -> None:
    """Make the x axis of what was drawn logarithmic, with numbers as people read them."""
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 100 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: write(value))
    axes.xaxis.set_minor_formatter(lambda *_: "")


def whole_numbers(axes: Axes) -> None:
    """Put the ticks of the x axis on whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
