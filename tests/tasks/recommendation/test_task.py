"""Data of recommendation: times and formats, both splits, filters, cold items, and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.tasks.recommendation.data import HistorySplit, RecommendationData
from harness.tasks.recommendation.demo import DemoRatings
from harness.tasks.recommendation.runtime import RecommendationRuntime
from harness.tasks.recommendation.task import Recommendation

# Of the default demo. A change of this value is a change of the task: every result on it is another one then.
FINGERPRINT = "650cc7e6f7717c5c69ff710206baef74b20371d266c55c2469ac7448e4ea2c2c"


def frame(users: int = 12, items: int = 30, each: int = 8) -> pd.DataFrame:
    """Interactions of users with different items, later ones later."""
    draw = np.random.default_rng(0)
    rows = [
        (f"u{user:02d}", f"i{item:02d}", 1000 * place - 980 * (place == 3) + user, float(1 + (item + user) % 5))
        for user in range(users)
        for place, item in enumerate(draw.permutation(items)[:each])
    ]
    return pd.DataFrame(rows, columns=["user", "item", "time", "rating"])


def load(path: Path, **fields: Any) -> RecommendationData:
    return Recommendation(name="mine", path=str(path), **fields).load()


def complaint(path: Path, **fields: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        load(path, **fields)
    return str(caught.value)


def rows_of(split: Any) -> dict[str, tuple[list[int], tuple[int, ...]]]:
    assert isinstance(split, HistorySplit)
    parts = zip(split.texts, split.histories, split.targets, strict=True)
    return {user: (history.tolist(), wanted) for user, history, wanted in parts}


def test_the_last_of_each_user_is_held_out(tmp_path: Path) -> None:
    """In the order of time, whatever that of the file, and whatever its format and the spelling of times."""
    whole = frame()
    mixed = whole.sample(frac=1, random_state=0)
    mixed.to_csv(tmp_path / "rows.csv", index=False)
    data = load(tmp_path / "rows.csv")
    test, validation, train = rows_of(data.test), rows_of(data.validation), rows_of(data.train)
    for user, part in whole.groupby("user"):
        items = [data.items.index(item) for item in part["item"]]
        assert train[str(user)][0] == items[:-2]
        assert train[str(user)][1] == tuple(items[1:-2])
        assert validation[str(user)] == (items[:-2], (items[-2],))
        assert test[str(user)] == (items[:-1], (items[-1],))
    assert data.counts.sum() == 12 * 6 and data.facts["tied_times"] == 0
    dated = mixed.assign(time=pd.to_datetime(mixed["time"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S"))
    dated.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    mixed.to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        again = load(tmp_path / name)
        assert again.fingerprint == data.fingerprint
        assert again.facts["within_a_minute"] == data.facts["within_a_minute"]  # in seconds, not only in order
    # A saved model knows all that its users have, those of no evaluated row included.
    few = load(tmp_path / "rows.csv", most_users=10)
    assert len(few.test) == 10
    known = RecommendationRuntime.of_data(few).histories
    assert {user: [few.items[item] for item in items] for user, items in known.items()} == {
        str(user): part["item"].tolist() for user, part in whole.groupby("user")
    }
    assert not RecommendationRuntime.of_data(load(tmp_path / "rows.csv", keep_users=False)).histories
    small = data.sample(64, 64)
    assert len(small.test) == 12 and rows_of(small.test) == test


def test_one_point_in_time_divides_all_users(tmp_path: Path) -> None:
    """Several targets a user; nothing that is trained on is later than what selects, nor that than what tests."""
    whole = frame()
    whole.to_csv(tmp_path / "rows.csv", index=False)
    data = load(tmp_path / "rows.csv", split="temporal", test_fraction=0.25)
    assert data.facts["interactions"] == {"train": 61, "validation": 11, "test": 24}
    for user, (history, wanted) in rows_of(data.test).items():
        items = [data.items.index(item) for item in whole[whole["user"] == user]["item"]]
        assert history == items[:6] and sorted(wanted) == sorted(items[6:])


def test_filters_ties_and_cold_items_are_told(tmp_path: Path) -> None:
    """Each with its number; cold targets can be left out."""
    whole = frame(users=14)
    whole.loc[whole["user"] == "u13", "item"] = [f"only{place}" for place in range(8)]
    whole.loc[whole["user"] == "u00", "time"] = 5
    twice = pd.concat([whole, whole.iloc[8:10]])
    twice.to_csv(tmp_path / "rows.csv", index=False)
    data = load(tmp_path / "rows.csv", rating="rating", min_rating=2)
    low = int((whole["rating"] < 2).sum())
    assert data.facts["dropped"]["low_ratings"] >= low and data.facts["dropped"]["repeated"] >= 1
    data = load(tmp_path / "rows.csv")
    assert data.facts["cold_targets"]["test"] >= 1 and data.facts["tied_times"] > 0.05
    assert any("cold items" in line for line in data.warnings) and any(
        "time of the one before" in w for w in data.warnings
    )
    left = load(tmp_path / "rows.csv", cold="leave_out")
    assert "u13" in data.test.texts and "u13" not in left.test.texts
    rare = load(tmp_path / "rows.csv", min_item_users=2, short_users="drop")
    assert not [name for name in rare.items if name.startswith("only")]


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """Each message says what is wrong, where, and what to do."""
    good = frame()
    path = tmp_path / "rows.csv"

    def write(changed: pd.DataFrame) -> Path:
        changed.to_csv(path, index=False)
        return path

    single = pd.concat([good, pd.DataFrame([("alone", "i01", 3, 1.0)], columns=good.columns)])
    told = complaint(write(single))
    assert "1 of 13 users have fewer than 3" in told and "(1 have one)" in told and "task.short_users=drop" in told
    assert len(load(path, short_users="drop").train) == 12
    times = good.astype({"time": object})
    times.loc[3, "time"] = "soon"
    told = complaint(write(times))
    assert "1 of 96 times in column 'time'" in told and "'soon' (rows 4)" in told and "task.time=null" in told
    times.loc[3, "time"] = "2024-05-31"
    assert "95 numbers and 1 dates" in complaint(write(times))
    lacks = good.astype({"item": object})
    lacks.loc[7, "item"] = None
    assert "1 of 96 rows have no item in column 'item': rows 8" in complaint(write(lacks))
    write(good)
    assert "no column 'who'" in complaint(path, user="who")
    assert "needs ratings" in complaint(path, min_rating=3)
    assert "task.split cannot be random" in complaint(path, split="random")
    assert "names none: name the column of times" in complaint(path, split="temporal", time=None)
    assert "has 5 users to train on" in complaint(write(frame(users=5)))
    assert "has 9 items" in complaint(write(frame(items=9)))
    same = complaint(write(good.assign(time=1)), split="temporal")
    assert "most have the same time" in same


def test_test_interactions_of_ones_own(tmp_path: Path) -> None:
    """Unknown items are an error until it is said what they count as; strangers alone are one always."""
    train = frame(users=16)
    train.to_csv(tmp_path / "train.csv", index=False)
    had = train.groupby("user")["item"].agg(set)
    after = [next(item for item in sorted(set(train["item"]) - items)) for items in had]
    test = pd.DataFrame({"user": had.index, "item": ["new"] * 3 + after[3:], "time": 10**6})
    test.to_csv(tmp_path / "test.csv", index=False)
    own = {"test_path": str(tmp_path / "test.csv")}
    assert "1 items of the test interactions occur in no training interaction" in complaint(
        tmp_path / "train.csv", **own
    )
    data = load(tmp_path / "train.csv", cold="miss", **own)
    assert data.facts["split"] == "given" and data.facts["cold_targets"]["test"] == 3
    assert (
        len(load(tmp_path / "train.csv", cold="leave_out", short_users="drop", **own).test) == len(data.test) - 3 == 13
    )
    test.assign(user="stranger").to_csv(tmp_path / "test.csv", index=False)
    assert "no user of the test interactions" in complaint(tmp_path / "train.csv", cold="miss", **own)


def test_titles_and_the_demo(tmp_path: Path) -> None:
    """Titles come from a file of their own; the demo is the same everywhere, and its order says something."""
    frame().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "items.jsonl").write_text(
        "\n".join(json.dumps({"item": f"i{n:02d}", "title": f"Item {n}"}) for n in range(25)), encoding="utf-8"
    )
    data = load(tmp_path / "rows.csv", items_path=str(tmp_path / "items.jsonl"))
    assert data.titles[data.items.index("i03")] == "Item 3" and data.titles[data.items.index("i29")] == ""
    demo = DemoRatings(name="demo_ratings").load()
    assert demo.fingerprint == FINGERPRINT
    follows = [
        demo.items[after][:-1] == demo.items[before][:-1] and demo.items[after] > demo.items[before]
        for history in demo.train.histories  # type: ignore[attr-defined]  # of this family
        for before, after in itertools.pairwise(history)
    ]
    assert np.mean(follows) > 0.3
