"""Construction of a recommendation data set from interactions: filters, splits by time, facts and warnings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples
from harness.formatting.values import size
from harness.tasks.recommendation.data import HistorySplit, RecommendationData, history_split, training_split
from harness.tasks.recommendation.metrics import TOP
from harness.tasks.recommendation.settings import LEAVE_ONE_OUT, RecommendationSettings

HELD = ("validation", "test")
LEAST_USERS, LEAST_ITEMS = 10, 2 * TOP  # of a data set; fewer cannot be ranked in earnest
MOST_SCORES = 1_000_000_000  # test users times items: their scores are held in memory, 4 bytes each


def assemble(
    task: RecommendationSettings, frames: Mapping[str, pd.DataFrame], titles: Mapping[str, str], source: str
) -> RecommendationData:
    """Filter and split interactions by the task's settings.

    Args:
        task: the settings.
        frames: interactions (see `read_interactions`) by given split, at least `train`.
        titles: {item: text}; {} without texts.
        source: name of the source, for the facts.

    Raises:
        HarnessError: what is left is too little for the splits.
    """
    kept, dropped = _filtered(task, frames)
    parts = _given(task, kept) if len(kept) > 1 else _divided(task, kept["train"])
    train = parts["train"]
    names = tuple(sorted({item for frame in parts.values() for item in frame["item"]}))
    _check_size(task, train, names)
    place = {name: index for index, name in enumerate(names)}
    counts = np.bincount(train["item"].map(place), minlength=len(names)).astype(np.int64)
    histories = _histories(train, place)
    users = sorted(histories)
    made: dict[str, HistorySplit] = {
        "train": training_split(users, [histories[user] for user in users], np.arange(len(users)))
    }
    new, cold, targets = {}, {}, {}
    for split in HELD:
        found = _evaluated(task, split, parts[split], histories, place, counts)
        made[split], new[split], cold[split], targets[split] = found
        for user, after in _histories(parts[split], place).items():
            histories[user] = np.concatenate([histories[user], after]) if user in histories else after
    tied, minutes = ties(pd.concat(list(parts.values())))
    facts = {
        "source": source,
        "rows": {name: len(part) for name, part in made.items()},
        "interactions": {name: len(frame) for name, frame in parts.items()},
        "items": len(names),
        "density": round(len(train) / (len(users) * len(names)), 6),
        "cold_items": int((counts == 0).sum()),
        "targets": targets,
        "cold_targets": cold,
        "new_users": new,
        "tied_times": round(tied, 4),
        "within_a_minute": round(minutes, 4),
        "dropped": dropped,
        "split": task.split if len(frames) == 1 else "given",
        "validation": "split",
        "selected_with": f"selected on {len(made['validation'])} users, by the items before those of the test",
        "test_digest": made["test"].text_digest,
    }
    return RecommendationData(
        outputs=len(names), train=made["train"], validation=made["validation"], test=made["test"], folds=(),
        fingerprint=_fingerprint(made, names), facts=facts, warnings=tuple(_warnings(task, facts, frames)),
        items=names, titles=tuple(titles.get(name, "") for name in names) if titles else (), counts=counts,
        users=len(users), keep_users=task.keep_users, known=histories,
    )  # fmt: skip


def ties(frame: pd.DataFrame) -> tuple[float, float]:
    """Return which shares of a user's interactions have the time of the one before, and follow it within a minute.

    Both are fractions of all interactions.
    """
    ordered = frame.sort_values(["user", "time", "row"], kind="stable")
    gaps = ordered.groupby("user", sort=False)["time"].diff().to_numpy()
    return float(np.mean(gaps == 0)), float(np.mean(gaps <= 60))


def _filtered(
    task: RecommendationSettings, frames: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """Leave out low ratings, repeated interactions, and rare items and users, in this order; count each."""
    kept, dropped = dict(frames.items()), dict[str, int]()

    def keep(reason: str, rows: Mapping[str, Any]) -> None:
        lost = sum(int((~rows[name]).sum()) for name in rows)
        if lost:
            dropped[reason] = lost
        for name in rows:
            kept[name] = kept[name][rows[name]]

    if task.min_rating is not None:
        keep("low_ratings", {name: frame["rating"] >= task.min_rating for name, frame in kept.items()})
    ordered = {name: frame.sort_values(["time", "row"], kind="stable") for name, frame in kept.items()}
    kept.update(ordered)
    keep("repeated", {name: ~frame.duplicated(["user", "item"]) for name, frame in kept.items()})
    seen = kept["train"].groupby("item").size()
    if task.min_item_users > 1:
        frequent = set(seen[seen >= task.min_item_users].index)
        keep("rare_items", {"train": kept["train"]["item"].isin(frequent)})
    needed = 3 if task.split == LEAVE_ONE_OUT and len(frames) == 1 else 1
    sizes = kept["train"].groupby("user").size()
    short = sorted(sizes[sizes < max(needed, task.min_user_items)].index)
    few = [user for user in short if sizes[user] < needed]
    if few and task.short_users == "error":
        single = int((sizes[few] == 1).sum())
        raise HarnessError(
            f"Task {task.name}: {len(few)} of {len(sizes)} users have fewer than 3 interactions ({single} have one): "
            f"{examples(few)}. task.split={LEAVE_ONE_OUT} needs one each to train, validate and test. Leave such users "
            "out with task.short_users=drop, or choose task.split=temporal."
        )
    if short:
        keep("short_users", {"train": ~kept["train"]["user"].isin(short)})
    return kept, dropped


def _divided(task: RecommendationSettings, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Hold out the last two interactions of each user, or those after two points in time."""
    frame = frame.sort_values(["user", "time", "row"], kind="stable")
    if task.split == LEAVE_ONE_OUT:
        back = frame.groupby("user", sort=False).cumcount(ascending=False)
        return {"train": frame[back >= 2], "validation": frame[back == 1], "test": frame[back == 0]}
    times = np.sort(frame["time"].to_numpy())
    held = task.test_fraction
    last = times[min(int(len(times) * (1 - held)), len(times) - 1)]
    before = times[times < last]
    _check_times(task, before)
    middle = before[min(int(len(before) * (1 - task.validation_fraction)), len(before) - 1)]
    time = frame["time"]
    found = {
        "train": frame[time < middle],
        "validation": frame[(time >= middle) & (time < last)],
        "test": frame[time >= last],
    }
    _check_times(task, found["train"]["time"].to_numpy())
    return found


def _check_times(task: RecommendationSettings, before: npt.NDArray[np.float64]) -> None:
    if not len(before):
        raise HarnessError(
            f"Task {task.name}: task.split=temporal finds no interactions before those that it holds out, because most "
            f"have the same time. Choose task.split={LEAVE_ONE_OUT}, or correct task.time."
        )


def _given(task: RecommendationSettings, frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return given splits; validation interactions are held out of the training ones if there are none."""
    train, test = frames["train"], frames.get("test")
    problems = Problems()
    problems.check(test is not None, "task.validation_path without task.test_path: give both, or neither.")
    problems.raise_any()
    assert test is not None
    validation = frames.get("validation")
    if validation is None:
        train = train.sort_values(["user", "time", "row"], kind="stable")
        back = train.groupby("user", sort=False).cumcount(ascending=False)
        several = train.groupby("user")["user"].transform("size") >= 2
        train, validation = train[(back >= 1) | ~several], train[(back == 0) & several]
    known = set(train["item"])
    for name, frame in (("validation", validation), ("test", test)):
        unknown = sorted(set(frame["item"]) - known)
        problems.check(
            not unknown or task.cold is not None or name not in frames,
            f"Task {task.name}: {len(unknown)} items of the {name} interactions occur in no training interaction, so "
            f"no method can recommend them: {examples(unknown)}. Correct the files, count them as misses with "
            "task.cold=miss, or leave them out with task.cold=leave_out.",
        )
        strangers = sorted(set(frame["user"]) - set(train["user"]))
        problems.check(
            len(strangers) < frame["user"].nunique(),
            f"Task {task.name}: no user of the {name} interactions occurs in the training ones (such as "
            f"{examples(strangers)}): is task.user the same in both files?",
        )
    problems.raise_any()
    return {"train": train, "validation": validation, "test": test}


def _check_size(task: RecommendationSettings, train: pd.DataFrame, names: tuple[str, ...]) -> None:
    problems = Problems()
    users = train["user"].nunique()
    problems.check(
        users >= LEAST_USERS,
        f"Task {task.name} has {users} users to train on, and needs at least {LEAST_USERS}. Check task.user, "
        "task.min_rating, task.min_item_users and task.min_user_items.",
    )
    problems.check(
        len(names) >= LEAST_ITEMS,
        f"Task {task.name} has {len(names)} items, and ranking {TOP} of them needs at least {LEAST_ITEMS}. Check "
        "task.item, task.min_rating and task.min_item_users.",
    )
    problems.raise_any()


def _histories(frame: pd.DataFrame, place: Mapping[str, int]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the items of each user, the earliest first."""
    ordered = frame.sort_values(["user", "time", "row"], kind="stable")
    items: Any = ordered["item"].map(place).to_numpy(dtype=np.int64)
    users, starts = np.unique(ordered["user"].to_numpy(dtype=object), return_index=True)
    return dict(zip(map(str, users), _parts(items, starts), strict=True))


def _parts(items: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    ends = [*starts[1:].tolist(), len(items)]
    return [items[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]


def _evaluated(
    task: RecommendationSettings,
    split: str,
    frame: pd.DataFrame,
    histories: Mapping[str, npt.NDArray[np.int64]],
    place: Mapping[str, int],
    counts: npt.NDArray[np.int64],
) -> tuple[HistorySplit, int, int, int]:
    """Return an evaluated split, and the numbers of users without a history, of cold targets and of all targets."""
    users, before, targets = list[str](), list[Any](), list[Any]()
    new = cold = total = 0
    for user, wanted in _histories(frame, place).items():
        if user not in histories:
            new += 1
            continue
        left = wanted[~np.isin(wanted, histories[user])]  # what was seen is not recommended again
        cold += int((counts[left] == 0).sum())
        total += len(left)
        if task.cold == "leave_out":
            left = left[counts[left] > 0]
        if len(left):
            users.append(user)
            before.append(histories[user])
            targets.append(left)
    if len(users) < LEAST_USERS:
        raise HarnessError(
            f"Task {task.name} has {len(users)} users to {'test' if split == 'test' else 'validate'} on, and needs at "
            f"least {LEAST_USERS}: {new} more have no interactions before. Choose another task.split, or larger "
            f"fractions."
        )
    rows = np.arange(len(users))
    if task.most_users is not None and len(users) > task.most_users:
        drawn = np.random.default_rng(task.split_seed).permutation(len(users))[: task.most_users]
        rows = np.sort(drawn)
    if len(rows) * len(counts) > MOST_SCORES:
        raise HarnessError(
            f"Task {task.name}: the scores of {len(rows):,} {split} users for {len(counts):,} items take "
            f"{size(4 * len(rows) * len(counts))}. Evaluate a random part of the users: "
            f"task.most_users={MOST_SCORES // len(counts)} or fewer."
        )
    found = history_split(split, users, before, targets, np.arange(len(users)))
    return found.take(rows, split), new, cold, total


def _fingerprint(made: Mapping[str, HistorySplit], names: tuple[str, ...]) -> str:
    content = [
        [part.name, part.texts, [each.tolist() for each in part.histories], [list(each) for each in part.targets]]
        for part in made.values()
    ]
    text = json.dumps(["recommendation", names, content], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _warnings(task: RecommendationSettings, facts: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> list[str]:
    found = [note for frame in frames.values() for note in frame.attrs.get("notes", ())]
    rows = facts["rows"]
    if task.time is None:
        found.append("There are no times (task.time=null): the order of the rows counts as the order in time.")
    elif facts["tied_times"] > 0.01 or facts["within_a_minute"] > 0.5:
        found.append(
            f"{facts['tied_times']:.1%} of interactions have the time of the one before, "
            f"{facts['within_a_minute']:.1%} follow it within a minute. Where users rate many items in one "
            "sitting, the next item is mostly the next on a page: scores say little about later visits. Compare with "
            "task.split=temporal."
        )
    for name in HELD:
        if number := facts["cold_targets"][name]:
            total = facts["targets"][name]
            what = "left out" if task.cold == "leave_out" else "count as misses for most methods"
            found.append(f"{number} of {total} {name} targets are cold items, which no training user has: {what}.")
        if number := facts["new_users"][name]:
            found.append(
                f"{number} {name} users have no interactions before, and are left out; {rows[name]} are ranked."
            )
    for reason, text in (
        ("low_ratings", f"ratings below task.min_rating={task.min_rating}"),
        ("repeated", "interactions of a user with an item of before"),
        ("rare_items", f"interactions with items of fewer than task.min_item_users={task.min_item_users} users"),
        ("short_users", "interactions of users with too few of them"),
    ):
        if number := facts["dropped"].get(reason):
            found.append(f"{number} {text} were left out.")
    return found
