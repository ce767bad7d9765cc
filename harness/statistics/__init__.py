"""Statistics of small comparisons. Scores are oriented so that more is better. Imports no torch."""

from harness.statistics.adaptive import Look, Sequential, sequential
from harness.statistics.comparison import Comparison, Difference, Verdict, compare
from harness.statistics.intervals import Interval, interval
from harness.statistics.looks import spend
from harness.statistics.scale import Scale, informative_rows, scale_of
from harness.statistics.scores import per_example

__all__ = [
    "per_example",
    "interval", "Interval",
    "Scale", "scale_of", "informative_rows",
    "compare", "Comparison", "Difference", "Verdict",
    "spend",
    "sequential", "Sequential", "Look",
]  # fmt: skip
