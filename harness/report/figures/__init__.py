"""Figures of a study, made with matplotlib without a display; one figure a file."""

from harness.report.figures.base import INK, PAPER, RULE, Drawing
from harness.report.figures.draw import draw

__all__ = ["INK", "PAPER", "RULE", "Drawing", "draw"]
