"""Figures of a study, drawn with matplotlib without a display; one file per figure."""

from harness.report.figures.base import INK, PAPER, RULE, Drawing
from harness.report.figures.draw import draw

__all__ = ["INK", "PAPER", "RULE", "Drawing", "draw"]
