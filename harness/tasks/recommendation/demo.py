"""The built-in demo of recommendation: generated visits to a library of series; needs no download.

Users have favorite genres, and often go on with the next volume of a series: popularity, similar users and the order of
visits each say something about what follows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pandas as pd

from harness.errors import Problems
from harness.tasks.recommendation.task import RecommendationTask

GENRES = ("Crime", "Travel", "Science", "History", "Poetry", "Comics", "Cooking", "Nature")
VOLUMES = 5  # of each series
FOLLOW, FAVORITE = 0.45, 0.85  # probabilities of the next volume, and else of a favorite genre
SECONDS = 86_400  # mean time between visits


@dataclass(kw_only=True)
class DemoRatings(RecommendationTask):
    """Generated interactions. The same fields give the same rows on every machine and Python version."""

    users: int = 300
    series: int = 4  # of each genre
    visits: int = 20  # of a user, on average
    data_seed: int = 0

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key, least, most in (("users", 20, 5000), ("series", 2, 50), ("visits", 6, 100), ("data_seed", 0, 2**32)):
            value = getattr(self, key)
            holds = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            problems.check(holds, f"task.{key} must be a whole number from {least} to {most}, not {value!r}.")

    def read(self) -> tuple[dict[str, pd.DataFrame], dict[str, str], str]:
        """Generate the interactions."""
        draw = random.Random(f"ratings {self.data_seed}")
        names, shelves = dict[str, str](), list[list[list[str]]]()
        for number, genre in enumerate(GENRES):
            shelves.append([])
            for series in range(self.series):
                items = [f"b{number}{series:02d}{volume}" for volume in range(VOLUMES)]
                names |= {item: f"{genre} {series + 1}, volume {place + 1}" for place, item in enumerate(items)}
                shelves[-1].append(items)
        rows = []
        for user in range(self.users):
            favorites = draw.sample(range(len(GENRES)), 2)
            time, seen, last = draw.random() * 100 * SECONDS, set[str](), None
            for _ in range(draw.randint(self.visits // 2, self.visits * 3 // 2)):
                item = self._next(draw, shelves, favorites, last, seen)
                if item is None:
                    break
                time += draw.expovariate(1 / SECONDS)
                rows.append((f"reader{user:04d}", item, round(time), draw.choice((3, 4, 4, 5))))
                seen.add(item)
                last = item
        users, items, times, ratings = (list(column) for column in zip(*rows, strict=True))
        frame = pd.DataFrame(
            {"user": users, "item": items, "time": times, "rating": ratings, "row": range(len(rows))}
        ).astype({"time": "float64", "rating": "float64"})
        return {"train": frame}, names, f"generated, seed {self.data_seed}"

    def _next(
        self,
        draw: random.Random,
        shelves: list[list[list[str]]],
        favorites: list[int],
        last: str | None,
        seen: set[str],
    ) -> str | None:
        if last is not None and draw.random() < FOLLOW and int(last[-1]) + 1 < VOLUMES:
            following = f"{last[:-1]}{int(last[-1]) + 1}"
            if following not in seen:
                return following
        for _ in range(50):
            genre = draw.choice(favorites) if draw.random() < FAVORITE else draw.randrange(len(GENRES))
            # Early series and volumes are more popular.
            series = min(draw.randrange(self.series), draw.randrange(self.series))
            volume = min(draw.randrange(VOLUMES), draw.randrange(VOLUMES))
            item = shelves[genre][series][volume]
            if item not in seen:
                return item
        return None
