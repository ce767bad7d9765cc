"""Settings common to all recommendation tasks, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.api.metric import Metric
from harness.data.text_values import check_text, plain
from harness.errors import Problems, nearest
from harness.tasks.recommendation.metrics import METRICS

LEAVE_ONE_OUT, TEMPORAL = "leave_one_out", "temporal"
SPLITS = (LEAVE_ONE_OUT, TEMPORAL)
COLD = ("miss", "leave_out")
SHORT = ("error", "drop")


@dataclass(kw_only=True)
class RecommendationSettings:
    """What counts as an interaction, and how interactions are split."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    name: str
    metric: str = "ndcg_at_10"
    split: str = LEAVE_ONE_OUT  # leave_one_out: the last of each user; temporal: all after one point in time
    test_fraction: float = 0.2  # of all interactions, with split=temporal
    validation_fraction: float = 0.15  # of those before, likewise
    split_seed: int = 0  # of `most_users`
    most_users: int | None = None  # evaluated users, drawn at random; null: all
    time: str | None = "time"  # column of times; null: the order of the rows
    min_rating: float | None = None  # lower ratings are no interactions; null: all are
    min_item_users: int = 1  # items of fewer users are left out
    min_user_items: int = 1  # users of fewer items are left out
    short_users: str = "error"  # error | drop: what is done with users with too few interactions for the split
    cold: str | None = None  # miss | leave_out; null: miss, but an error in test interactions of your own
    max_length: int = 200  # items of a history that a sequential model reads, the last ones
    keep_users: bool = True  # whether saved models know the histories of users

    def __post_init__(self) -> None:
        """Convert numbers back to the text that was typed."""
        self.name = plain(self.name)
        self.metric = plain(self.metric)

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        check_text(problems, "task.name", self.name, "the name of the task in tables")
        for key, known in (("metric", tuple(METRICS)), ("split", SPLITS), ("short_users", SHORT)):
            value = getattr(self, key)
            problems.check(value in known, f"task.{key} cannot be {value}. {nearest(value, known)}")
        problems.check(
            self.cold is None or self.cold in COLD,
            f"task.cold cannot be {self.cold}: null, {' or '.join(COLD)}.",
        )
        for key in ("test_fraction", "validation_fraction"):
            value = getattr(self, key)
            holds = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
            problems.check(holds, f"task.{key} must lie between 0 and 1, both excluded, not {value!r}.")
        for key, least in (("split_seed", 0), ("min_item_users", 1), ("min_user_items", 1), ("max_length", 2)):
            problems.whole(f"task.{key}", getattr(self, key), least)
        if self.most_users is not None:
            problems.whole("task.most_users", self.most_users, 10)
        rating = self.min_rating
        problems.check(
            rating is None or (isinstance(rating, int | float) and not isinstance(rating, bool)),
            f"task.min_rating must be a number, or null, not {rating!r}.",
        )
        problems.check(
            isinstance(self.keep_users, bool), f"task.keep_users must be true or false, not {self.keep_users}."
        )
        problems.check(
            self.split == LEAVE_ONE_OUT or self.time is not None,
            "task.split=temporal needs times, and task.time=null names none: name the column of times.",
        )
