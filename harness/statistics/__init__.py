"""Statistics of small comparisons. Scores are oriented so that higher is better. Imports no torch."""

from harness.statistics.alpha_spending import spend
from harness.statistics.comparison import Comparison, Difference, Verdict, compare, typical_gap
from harness.statistics.expected_regret import Choice, choose
from harness.statistics.intervals import Interval, interval
from harness.statistics.sample_size import Needed, needed
from harness.statistics.scale import Scale, scale_of
from harness.statistics.sequential import Look, Sequential, sequential

__all__ = [
    "interval", "Interval",
    "Scale", "scale_of",
    "compare", "Comparison", "Difference", "Verdict", "typical_gap",
    "spend",
    "choose", "Choice",
    "needed", "Needed",
    "sequential", "Sequential", "Look",
]  # fmt: skip
