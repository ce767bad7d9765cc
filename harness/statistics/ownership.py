"""Total cost of ownership: the cost of a cell from its first trial to its last request.

Any unit works (seconds, dollars) if all numbers share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError


@dataclass(frozen=True)
class Ownership:
    """Costs of a cell; None if unknown.

    Attributes:
        tuning: cost of all its trials.
        training: cost of the one model that is used.
        request: cost of one request.
    """

    tuning: float | None
    training: float | None
    request: float | None

    @property
    def once(self) -> float | None:
        """Cost before the first request."""
        return None if self.tuning is None or self.training is None else self.tuning + self.training

    def total(self, requests_per_month: float, months: float) -> float | None:
        """Return the cost of tuning, training and serving together; None if any of them is unknown."""
        if requests_per_month < 0 or months < 0:
            raise HarnessError(f"Requests and months are 0 or more, not {requests_per_month} and {months}.")
        if self.once is None or self.request is None:
            return None
        return self.once + self.request * requests_per_month * months


@dataclass(frozen=True)
class BreakEven:
    """The point at which two cells have the same total cost.

    Attributes:
        requests: number of requests; above it the cell with cheaper requests has the lower total cost.
        months: the same in months; None without a number of requests per month.
    """

    requests: float
    months: float | None


def break_even(one: Ownership, other: Ownership, requests_per_month: float | None = None) -> BreakEven | None:
    """Find the point at which two cells have the same total cost.

    Returns:
        None if one of them is cheaper at any number of requests, if both always cost the same, or if a cost is unknown.
    """
    if one.once is None or other.once is None or one.request is None or other.request is None:
        return None
    ahead, slower = other.once - one.once, one.request - other.request
    if ahead == 0 or slower == 0 or (ahead > 0) != (slower > 0):
        return None
    requests = ahead / slower
    return BreakEven(requests, requests / requests_per_month if requests_per_month else None)
