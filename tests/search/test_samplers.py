"""The same question gets the same trials, whatever the study is called and whatever else it asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.config.schema import TuneConfig
from harness.design.search_space import Parameter
from harness.search.joint import make_trials
from harness.search.samplers import point, quantile, quasi_random_point
from harness.search.storage import open_storage
from tests.design.test_search_space import read
from tests.helpers.fake_studies import cells

LR, NARROW = read("train.lr=tag(log,interval(1e-5,1e-1))"), read("train.lr=tag(log,interval(1e-3,1e-2))")
SPACES: dict[str, dict[str, Parameter]] = {
    "lora": {"train.lr": LR, "method.r": read("method.r=4,8,16,32")},
    "bitfit": {"train.lr": NARROW},
    "knn": {"method.k": read("method.k=range(1,40)")},
}
Tried = dict[str, list[tuple[int, dict[str, Any]]]]


def tried(directory: Path, name: str, spaces: Mapping[str, dict[str, Parameter]], tune: TuneConfig) -> Tried:
    """Tune every cell to its end; the score is a function of the configuration."""
    directory.mkdir(parents=True)
    sources = make_trials(cells(spaces), tune, name, open_storage(None, directory, pytest.fail), {})
    while any(not source.quota.over for source in sources.values()):
        for source in sources.values():
            if (found := source.suggest(new=not source.quota.over)) is not None:
                source.tell(found.number, -sum(abs(float(value) - 0.01) for value in found.values.values()))
    return {
        cell: [(trial.number, source.suggestion(trial.number).values) for trial in source.all()]
        for cell, source in sources.items()
    }


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "nsga2"])
def test_neither_name_nor_order_nor_other_methods_change_a_trial(tmp_path: Path, sampler: str) -> None:
    """A method compared with itself is tuned as itself; the model-based samplers beyond their random trials, too."""
    tune = TuneConfig(trials=6, sampler=sampler, startup_trials=4)
    alone = {method: tried(tmp_path / method, "a", {method: space}, tune) for method, space in SPACES.items()}
    together = tried(tmp_path / "together", "another name", dict(reversed(SPACES.items())), tune)
    assert together == {cell: trials for one in alone.values() for cell, trials in one.items()}
    assert tried(tmp_path / "seed", "a", SPACES, TuneConfig(trials=6, sampler=sampler, seed=1)) != together


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_joint_study_of_another_name_tries_the_same(tmp_path: Path, sampler: str) -> None:
    """The method is a parameter like any other, and the methods' order does not matter."""
    tune = TuneConfig(mode="joint", trials=12, sampler=sampler)
    one = tried(tmp_path / "one", "one", SPACES, tune)
    assert one == tried(tmp_path / "two", "two", dict(reversed(SPACES.items())), tune)


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_cells_meet_the_same_points_of_a_key_they_share(tmp_path: Path, sampler: str) -> None:
    """Each in its own range: the 30 % quantile of one is the 30 % quantile of the other."""
    found = tried(tmp_path / "s", "s", SPACES, TuneConfig(trials=6, sampler=sampler))
    at = {"random": point, "qmc": quasi_random_point}[sampler]
    for number in range(1, 6):
        shared = at(0, "train.lr", number)
        for method, space in (("lora", LR), ("bitfit", NARROW)):
            _, values = found[f"demo.minilm.{method}"][number]
            assert values["train.lr"] == quantile(space.distribution, shared)


def test_points_are_what_they_were() -> None:
    """Otherwise a study that is asked again would be tuned differently."""
    assert [round(point(0, "train.lr", number), 6) for number in (1, 2)] == [0.090823, 0.648436]
    assert [round(quasi_random_point(0, "train.lr", number), 6) for number in (1, 2)] == [0.267607, 0.022768]


def test_quasi_random_points_fill_each_key_and_pairs_of_keys() -> None:
    """16 trials meet every sixteenth of a key once, and all quarters of the square of two keys."""
    for seed in range(5):
        of_key = {key: [quasi_random_point(seed, key, number) for number in range(16)] for key in ("a", "b")}
        for values in of_key.values():
            assert sorted(int(16 * value) for value in values) == list(range(16))
        assert len({(a < 0.5, b < 0.5) for a, b in zip(*of_key.values(), strict=True)}) == 4


@pytest.mark.parametrize(
    "sweep", ["x=a,b,c", "x=range(1,9,2)", "x=range(0.0,1.0,0.25)", "x=interval(2,5)", "x=tag(log,interval(1,64))",
              "x=interval(0.1,0.7)", "x=tag(log,interval(1e-5,1e-2))"],
)  # fmt: skip
def test_the_whole_of_a_distribution_can_be_met_and_nothing_else(sweep: str) -> None:
    """Both ends included; every value of a finite one."""
    entry = read(sweep)
    met = [quantile(entry.distribution, (step + 0.5) / 1000) for step in range(1000)]
    assert all(entry.distribution._contains(entry.distribution.to_internal_repr(value)) for value in met)
    if entry.size is not None:
        assert len({*met}) == entry.size
