"""Shared parts of all figures: style, colors and markers, rendering, and the comparison group that a figure shows.

An SVG uses a few exact colors for text, rules and background, so that a page can replace them by its own colors.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.formatting.escape import plain
from harness.formatting.values import metric_name, percent
from harness.report.analysis.verdicts import CellVerdict, ComparisonGroup, Evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.row_names import identity, name
from harness.report.reading.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, RULE, PAPER = "#1b1f24", "#c9cdd2", "#fefefe"  # text, rules, background
# Okabe and Ito's palette (jfly.uni-koeln.de/color), distinguishable with the common color vision deficiencies, without
# its yellow and black, which are invisible on white and on dark pages.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, ORANGE = PALETTE[:2]  # better and worse; always with a sign or a text that says the same
_MARKERS = "osD^vP"
WIDTH = 5.4  # inches: half a page wide, and still legible when shrunk to a phone
MOST = 40  # maximum cells drawn individually
BRIGHT = 8  # maximum lines in color; more cross too often to be distinguished
Look = tuple[str, str]  # color and marker, which are redundant for readers who see only one of them


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without suffix.
        caption: what it shows, in a sentence or two; also its alternative text.
        svg, png: content of the files.
    """

    name: str
    caption: str
    svg: str
    png: bytes


@dataclass(frozen=True)
class Subject:
    """A comparison group, as its figures show it.

    Attributes:
        slug: part of the file names.
        where: the group in words.
        rows: its cells, best first.
        looks: colors and markers of all cells of the report, by `identity`: a method looks the same in every figure.
        evidence, question: statistical results, and the group.
    """

    slug: str
    where: str
    rows: tuple[CellSummary, ...]
    looks: Mapping[str, Look]
    evidence: Evidence
    question: ComparisonGroup

    @property
    def recommended(self) -> CellSummary | None:
        """The recommended cell; None if there is none."""
        return self.question.recommended

    @property
    def confidence(self) -> str:
        """The confidence of intervals, `95 %`."""
        return f"{100 * self.level:.4g} %"

    @property
    def level(self) -> float:
        """The confidence of intervals, as a fraction."""
        return self.evidence.settings.confidence

    def judgement(self, row: CellSummary) -> CellVerdict:
        """Return the statistical results for a cell."""
        return self.question.judgements[next(i for i, other in enumerate(self.question.rows) if other is row)]

    def predictions(self, row: CellSummary) -> Predictions | None:
        """Return the predictions of a cell's runs; None if they cannot be read."""
        return self.evidence.scores_of(row)

    def label(self, row: CellSummary, limit: int = 32) -> str:
        """Name a cell within its group."""
        return plain(name(row, self.rows), limit)

    def look(self, row: CellSummary) -> Look:
        """Return a cell's color and marker."""
        return self.looks[identity(row)]

    def interval(self, row: CellSummary) -> tuple[float, float] | None:
        """Return the interval of a cell's mean test score in axis units, lower end first; None without one."""
        found = self.judgement(row).interval
        return None if found is None else (self.shown(found.low), self.shown(found.high))

    def shown(self, value: float) -> float:
        """Convert a metric to axis units."""
        return 100 * value if percent(self.rows[0].cell.metric) else value

    def axis(self, split: str) -> str:
        """Return the axis label of the group's metric."""
        metric = self.rows[0].cell.metric
        return f"{split} {metric_name(metric)}{', %' if percent(metric) else ''}"


def short(rows: Sequence[CellSummary]) -> dict[str, str]:
    """Return display names of cells by `identity`; a model that all share is left out."""
    models = len({row.cell.model for row in rows}) > 1
    return {
        identity(row): plain(identity(row) if models else identity(row).replace(f" {row.cell.model}", "", 1), 32)
        for row in rows
    }


def looks(rows: Sequence[CellSummary]) -> dict[str, Look]:
    """Assign colors and markers; 36 combinations differ."""
    names = sorted({identity(row) for row in rows})
    return {
        name: (PALETTE[index % len(PALETTE)], _MARKERS[(index + index // len(PALETTE)) % len(_MARKERS)])
        for index, name in enumerate(names)
    }


def capped(rows: Sequence[CellSummary], limit: int = MOST) -> tuple[list[CellSummary], str]:
    """Return the rows to draw, and a sentence for the caption if there are more."""
    kept = list(rows[:limit])
    return kept, f" The {limit} best of {len(rows)} are shown." if len(rows) > limit else ""


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    values: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: searchable, and in the page's own font
        "svg.hashsalt": salt,  # the same input gives the same file, and ids of two figures on a page never collide
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.facecolor": PAPER,
        "axes.edgecolor": RULE,
        "axes.labelcolor": INK,
        "axes.titlesize": 11,
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
        "legend.frameon": False,
        "legend.fontsize": 10,
    }
    with mpl.rc_context(values), warnings.catch_warnings():
        # A PNG has no glyphs that matplotlib's font lacks; the SVG leaves them to the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def render(name: str, plot: Callable[[Figure], None], caption: str) -> Drawing:
    """Draw a figure.

    Args:
        name: of its file.
        plot: fills the figure, whose width is `WIDTH` inches unless it sets another.
        caption: see `Drawing`.
    """
    from matplotlib.figure import Figure

    with _style(name):
        figure = Figure(figsize=(WIDTH, 3.6), facecolor=PAPER, layout="constrained")
        plot(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # the layout is final; do not repeat it for the second file
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Drawing(name, plain(caption), svg.getvalue(), png.getvalue())
