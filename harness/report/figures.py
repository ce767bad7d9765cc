"""Figures of a study, made with matplotlib without a display: every seed's test score, and score against training time.

An SVG uses a few exact colours for text, rules and background, so that a page can make them follow its own colours.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.escape import plain
from harness.report.evidence import groups, standard_error
from harness.report.rows import Row
from harness.report.wording import metric_name, name, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, RULE, PAPER = "#1b1f24", "#c9cdd2", "#fefefe"  # text, rules, background
# Okabe and Ito's palette (jfly.uni-koeln.de/color), which stays apart under the common colour deficiencies, without its
# yellow and black, which vanish on white and on dark pages.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
# Where a name may stand beside its point: offset in points and alignment. Left above and right below keep clear of the
# line, which leaves a point to the right and comes from below.
_PLACES = (
    (-5, 5, "right", "bottom"), (6, -6, "left", "top"), (5, 5, "left", "bottom"), (-5, -5, "right", "top"),
    (8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 9, "center", "bottom"), (0, -9, "center", "top"),
)  # fmt: skip
_SHORTEST = 0.01  # seconds: where methods that need no training stand on a logarithmic axis
_WIDTH = 5.4  # inches: as wide as half a page, and still legible when shrunk to a phone


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without suffix.
        caption: what it shows, in a sentence or two; also its text for people who do not see it.
        svg, png: its contents.
    """

    name: str
    caption: str
    svg: str
    png: bytes


def draw(rows: Sequence[Row]) -> list[Drawing]:
    """Draw two figures for every question that has test scores."""
    parts = [[row for row in group if row.test_mean is not None] for group in groups(rows)]
    used: set[str] = set()
    drawings = []
    for part in parts:
        if not part:
            continue
        slug = _slug(part[0], used)
        where = " ".join(part[0].question[:2]).strip()
        drawings.append(_render(f"scores-{slug}", _scores(part), f"{where}: {_SCORES}"))
        if any(row.train_seconds is not None for row in part):
            drawings.append(_render(f"cost-{slug}", _cost(part), f"{where}: {_COST}"))
    return drawings


_SCORES = "the test score of every seed (dots) and the mean of each cell (bar)."
_COST = (
    "mean test score against net training time of one run; bars are two standard errors. The line joins the cells that "
    "no cheaper cell beats. Names that would overlap are left out."
)


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: searchable, and in the page's own font
        "svg.hashsalt": salt,  # the same input gives the same file, and ids of two figures on a page never collide
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.facecolor": PAPER,
        "axes.edgecolor": RULE,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A PNG lacks letters that matplotlib's font lacks; the SVG beside it leaves them to the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _render(name: str, plot: Any, caption: str) -> Drawing:
    from matplotlib.figure import Figure

    with _style(name):
        figure = Figure(facecolor=PAPER, layout="constrained")
        plot(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Drawing(name, caption, svg.getvalue(), png.getvalue())


def _scores(rows: Sequence[Row]) -> Any:
    def plot(figure: Figure) -> None:
        figure.set_size_inches(_WIDTH, 1.0 + 0.34 * len(rows))
        axes = figure.add_subplot()
        for index, row in enumerate(rows):
            y = len(rows) - 1 - index
            color, marker = _look(row, rows)
            values = [_shown(row, value) for value in row.test_values]
            # Seeds of a deterministic method coincide: spread a little, they stay countable.
            offsets = [0.22 * (2 * k / (len(values) - 1) - 1) if len(values) > 1 else 0.0 for k in range(len(values))]
            axes.scatter(values, [y + offset for offset in offsets], color=color, marker=marker, s=26, lw=0, zorder=3)
            mean = _shown(row, row.test_mean or 0.0)
            axes.plot([mean, mean], [y - 0.36, y + 0.36], color=INK, lw=1.2, solid_capstyle="butt")
        axes.set_yticks(range(len(rows) - 1, -1, -1), [_label(row, rows) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="x")
        axes.set_xlabel(_axis(rows))
        axes.margins(x=0.06)

    return plot


def _cost(rows: Sequence[Row]) -> Any:
    def plot(figure: Figure) -> None:
        figure.set_size_inches(_WIDTH, 3.6)
        axes = figure.add_subplot()
        points = []
        for row in rows:
            if row.train_seconds is None or row.test_mean is None:
                continue
            x, y = max(row.train_seconds, _SHORTEST), _shown(row, row.test_mean)
            color, marker = _look(row, rows)
            error = standard_error(row)
            if error:
                axes.errorbar(x, y, yerr=_shown(row, 2 * error), color=color, lw=1, capsize=0, alpha=0.6)
            axes.scatter([x], [y], color=color, marker=marker, s=42, lw=0, zorder=3)
            points.append((x, y, row))
        front = _front(points)
        axes.step([x for x, _, _ in front], [y for _, y, _ in front], where="post", color=RULE, lw=1.2, zorder=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.margins(x=0.15, y=0.12)
        axes.grid()
        axes.set_xlabel("training time of one run, seconds")
        axes.set_ylabel(_axis(rows))
        _annotate(figure, axes, [*front, *(point for point in points if point not in front)], rows)

    return plot


def _front(points: Sequence[tuple[float, float, Row]]) -> list[tuple[float, float, Row]]:
    """Give the points that no cheaper one beats, by cost."""
    front: list[tuple[float, float, Row]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[2].better(point[1]))):
        if not front or point[2].better(point[1]) > front[-1][2].better(front[-1][1]):
            front.append(point)
    return front


def _annotate(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, Row]], rows: Sequence[Row]) -> None:
    """Write names beside points, the first ones first; a name that finds no free place is left out."""
    figure.draw_without_rendering()  # layout is settled, so that the extents below are the final ones
    taken = [tuple(axes.transData.transform((x, y))) for x, y, _ in points]
    boxes: list[Any] = []
    for x, y, row in points:
        own = axes.transData.transform((x, y))
        others = [(px, py) for px, py in taken if (px, py) != tuple(own)]
        for dx, dy, across, up in _PLACES:
            text = axes.annotate(
                _label(row, rows), (x, y), xytext=(dx, dy), textcoords="offset points", ha=across, va=up, fontsize=10
            )
            box = text.get_window_extent().padded(4)
            free = not any(box.overlaps(other) for other in boxes) and not any(box.contains(*point) for point in others)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and axes.bbox.y0 <= box.y0
            if free and inside and box.y1 <= figure.bbox.y1:
                boxes.append(box)
                break
            text.remove()


def _look(row: Row, rows: Sequence[Row]) -> tuple[str, str]:
    """Give a method its colour and marker: both differ, so that neither is needed alone."""
    methods = sorted({other.cell.method for other in rows})
    index = methods.index(row.cell.method)
    return _PALETTE[index % len(_PALETTE)], _MARKERS[(index + index // len(_PALETTE)) % len(_MARKERS)]


def _label(row: Row, rows: Sequence[Row]) -> str:
    return plain(name(row, rows), 32)


def _axis(rows: Sequence[Row]) -> str:
    metric = rows[0].cell.metric
    return f"test {metric_name(metric)}{', %' if percent(metric) else ''}"


def _shown(row: Row, value: float) -> float:
    return 100 * value if percent(row.cell.metric) else value


def _slug(row: Row, used: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(row.question[:2]).lower()).strip("-")[:40] or "study"
    while slug in used:
        slug = f"{slug}-{len(used) + 1}"
    used.add(slug)
    return slug
