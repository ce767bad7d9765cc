"""Total cost of ownership: what a cell costs from its first trial to its last request.

Any one unit will do (seconds, dollars), the same for every number.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError


@dataclass(frozen=True)
class Ownership:
    """What a cell costs; None is not known.

    Attributes:
        tuning: of all its trials.
        training: of the one model that is used.
        request: of one request.
    """

    tuning: float | None
    training: float | None
    request: float | None

    @property
    def once(self) -> float | None:
        """What is paid before the first request."""
        return None if self.tuning is None or self.training is None else self.tuning + self.training

    def total(self, requests_per_month: float, months: float) -> float | None:
        """Give tuning, training and serving together; None if any of them is not known."""
        if requests_per_month < 0 or months < 0:
            raise HarnessError(f"Requests and months are 0 or more, not {requests_per_month} and {months}.")
        if self.once is None or self.request is None:
            return None
        return self.once + self.request * requests_per_month * months


@dataclass(frozen=True)
class BreakEven:
    """Where two cells have cost the same.

    Attributes:
        requests: number of requests; above it the one that serves cheaper is cheaper in all.
        months: the same in months; None without requests a month.
    """

    requests: float
    months: float | None


def break_even(one: Ownership, other: Ownership, requests_per_month: float | None = None) -> BreakEven | None:
    """Find where two cells have cost the same.

    Returns:
        None where one of them is cheaper from the start and stays so, where both cost the same, or where a cost is not
        known.
    """
    if one.once is None or other.once is None or one.request is None or other.request is None:
        return None
    ahead, slower = other.once - one.once, one.request - other.request
    if ahead == 0 or slower == 0 or (ahead > 0) != (slower > 0):
        return None
    requests = ahead / slower
    return BreakEven(requests, requests / requests_per_month if requests_per_month else None)
