"""Settings of a report: margin, cost, and what is shown. Set by flags, a report definition, or the study.

Its defaults are those of the section `report` of the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from harness.api.cost import COSTS, choosable
from harness.api.family import all_metrics
from harness.config.schema import ReportConfig
from harness.errors import Problems, nearest

WIDEST_FRACTION = 2.0  # of the scale of a fraction or a correlation; others have a unit of their own
FAILED_AS = ("majority", "worst", "excluded")  # how runs that failed count in verdicts


def _points(margin: float) -> str:
    """Return a hint for a margin that was probably given in points."""
    return f", and {margin:g} points are {margin / 100:g}" if 1 < margin < 100 else ""


@dataclass(frozen=True)
class Settings:
    """How a report compares cells.

    Attributes:
        margin: non-inferiority margin, how much worse than the best still counts as as good: 0.01 is 1 point of a
            metric in percent. Metrics that are not fractions take it in their own unit.
        confidence: of intervals, and of all verdicts of a comparison group simultaneously.
        cost: the cost that the recommended cell minimizes; one of `harness.api.cost.choosable`.
        requests_per_month: requests that the model serves; None leaves serving out.
        months: number of months that the model serves.
        failed_as: how a confirmation that failed counts in verdicts: `majority`: as a model that always predicts the
            most frequent class; `worst`: as the worst seed of its cell; `excluded`: not at all. It is always counted in
            the sentences and in the column `failure_rate`.
        examples: whether labels and ids of single test rows may be shown.
    """

    margin: float = ReportConfig.margin
    confidence: float = ReportConfig.confidence
    cost: str = ReportConfig.cost
    requests_per_month: float | None = ReportConfig.requests_per_month
    months: float = ReportConfig.months
    failed_as: str = ReportConfig.failed_as
    examples: bool = ReportConfig.examples

    def check(self, metrics: Collection[str] = ()) -> None:
        """Check every value.

        Args:
            metrics: the metrics that are compared; if one of them is no fraction, such as a loss, a margin may be 1 or
                more.

        Raises:
            HarnessError: all problems at once.
        """
        problems = Problems()
        known = all_metrics()
        widest = max((known[each].high - known[each].low for each in metrics if each in known), default=0.0)
        good = math.isfinite(self.margin) and self.margin >= 0 and (self.margin < 1 or widest > WIDEST_FRACTION)
        problems.check(
            good,
            f"margin (report.margin, --margin) is a fraction of the metric, 0 or more and below 1, not {self.margin}: "
            f"0.01 is one point{_points(self.margin)}.",
        )
        problems.check(0.5 < self.confidence < 1, f"confidence must lie between 0.5 and 1, not {self.confidence}.")
        problems.check(self.cost in choosable(), f"cost={self.cost} is unknown. {nearest(self.cost, choosable())}")
        problems.check(
            self.requests_per_month is None or self.requests_per_month >= 0,
            f"requests_per_month (--requests) must not be below 0, as {self.requests_per_month} is.",
        )
        problems.check(self.months > 0, f"months must be above 0, not {self.months}.")
        problems.check(
            self.failed_as in FAILED_AS,
            f"failed_as (report.failed_as, --failed-as) is one of {', '.join(FAILED_AS)}, not {self.failed_as}.",
        )
        problems.check(
            self.cost not in choosable() or not COSTS[self.cost].serves or self.requests_per_month is not None,
            f"cost={self.cost} counts serving, so it needs the number of requests a month: "
            "requests_per_month (--requests).",
        )
        problems.raise_any()
