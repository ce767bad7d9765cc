"""What a cell's outputs are like, apart from their scores: lengths, and how many are empty, refused or cut."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.report.figures.base import INK, RULE, WIDTH, Drawing, Subject, capped, render
from harness.report.reading.predictions import Predictions, Unreadable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20  # cells that are drawn
PERCENTILES = (5, 25, 50, 75, 95)
# How models of English and Chinese begin to refuse. Other refusals are not found.
REFUSAL = re.compile(
    r"\W*(?:(?:i(?:['\u2019]m| am) )?(?:sorry|afraid)[,.]?(?: but)? (?:that )?i |i )"
    r"(?:can(?:no|['\u2019])t|(?:am|['\u2019]m) (?:not able|unable))\b|\W*as an ai\b|"
    "\\W*作为(?:一个|一名)?(?:ai|人工智能|语言模型)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Outputs:
    """The outputs of a cell's runs.

    Attributes:
        tokens: (n,) their numbers of tokens.
        empty, refused, cut: shares of outputs without a text; that begin with a refusal; that were cut at the most
            tokens, mostly because the model repeats itself.
    """

    tokens: npt.NDArray[np.float64]
    empty: float
    refused: float
    cut: float


def outputs(known: Predictions) -> Outputs | None:
    """Summarize the outputs of a cell's runs; None if they wrote none, or an archive has left out the texts."""
    try:
        texts = known.column("prediction").ravel()
        tokens, cut = known.column("written_tokens").ravel(), known.column("cut").ravel()
    except Unreadable:
        return None
    if not len(texts) or any(text is None for text in texts) or not np.any(tokens):
        return None
    written = [str(text).strip() for text in texts]
    return Outputs(
        tokens.astype(np.float64),
        float(np.mean([not text for text in written])),
        float(np.mean([REFUSAL.match(text) is not None for text in written])),
        float(np.mean(cut.astype(np.float64))),
    )


def lengths(subject: Subject) -> Drawing | None:
    """Draw the lengths of the cells' outputs, and the shares that are empty, refused or cut; None without outputs."""
    pairs = [(row, subject.predictions(row)) for row in subject.rows]
    found = [(row, made) for row, known in pairs if known is not None and (made := outputs(known)) is not None]
    if not found:
        return None
    kept, note = capped([row for row, _ in found], MOST)
    shown = [(row, made) for row, made in found if row in kept]

    def plot(figure: Figure) -> None:
        figure.set_size_inches(WIDTH, 1.3 + 0.34 * len(shown))
        axes = figure.add_subplot()
        for place, (row, made) in enumerate(shown):
            color, _ = subject.look(row)
            low, first, middle, third, high = np.percentile(made.tokens, PERCENTILES)
            axes.plot([low, high], [place, place], color=color, lw=1.2)
            axes.plot([first, third], [place, place], color=color, lw=6, alpha=0.5, solid_capstyle="butt")
            axes.plot([middle], [place], color=color, marker="o", ms=6)
            shares = "   ".join(f"{100 * share:.0f} %" for share in (made.empty, made.refused, made.cut))
            axes.text(1.02, place, shares, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK)
        axes.text(
            1.02, -0.85, "empty, refused, cut", transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK
        )
        axes.set_yticks(range(len(shown)), [subject.label(row, 24) for row, _ in shown])
        axes.set_ylim(len(shown) - 0.5, -1.2)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=RULE)
        axes.set_xlabel("tokens of an output")

    caption = (
        f"{subject.where}: lengths of the outputs for the test rows, all runs of a cell: median, quartiles, 5th and "
        "95th percentile. Beside them the shares of outputs that are empty, begin with a refusal, and were cut at "
        f"the most tokens (task.generate.max_new_tokens), mostly because the model repeats itself.{note}"
    )
    return render(f"lengths-{subject.slug}", plot, caption)
