"""Where trials are judged: rungs by resource and pruner, and what cannot be pruned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from harness.config.schema import TuneConfig
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell
from harness.errors import HarnessError
from harness.search.rungs import check_pruner, rungs_of
from tests.design.test_search_space import read

Main = Callable[..., tuple[int, str]]


def cell(validation: str = "split", ignores: tuple[str, ...] = (), **train: Any) -> PreparedCell:
    base = {
        "train": {"epochs": 9, "stop_epoch": None, "batch_size": 32, "accumulate": 1} | train,
        "method": {"ignores": list(ignores)},
    }
    own = Cell("t.m.lora", "t", "m", "lora", {}, OmegaConf.create(cast(Any, base)))
    return PreparedCell(own, base, "f", "w", {"rows": {"train": 770}, "validation": validation}, ())


@pytest.mark.parametrize(
    ("epochs", "pruner", "more", "expected"),
    [
        (9, "asha", {}, (1, 3)),
        (27, "asha", {}, (3, 9)),
        (8, "asha", {}, (1, 3)),
        (5, "asha", {}, (1,)),
        (2, "asha", {}, (1,)),
        (9, "hyperband", {"min_resource": 2, "reduction_factor": 2}, (2, 4)),
        (9, "asha", {"resource": "steps"}, (25, 75)),  # of 25 steps an epoch
        (9, "asha", {"resource": "examples", "min_resource": 100}, (100, 300, 900, 2700)),
        (9, "median", {}, (1, 2, 3, 4, 5, 6, 7, 8)),
        (9, "median", {"min_resource": 3}, (3, 4, 5, 6, 7, 8)),
        (2, "median", {"resource": "steps", "min_resource": 20}, (20, 40)),
        (9, "none", {}, ()),
    ],
)
def test_rungs_rise_by_powers_to_half_of_a_run(
    epochs: int, pruner: str, more: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """Or come at every epoch, or every so many steps, for the median; the first at a ninth where none is named."""
    assert rungs_of([cell(epochs=epochs)], TuneConfig(pruner=pruner, **more)).at == expected


def test_the_longest_run_of_those_that_compete_counts() -> None:
    """Also where epochs are tuned; what is not trained has none."""
    tune = TuneConfig(pruner="asha")
    assert rungs_of([cell(epochs=3), cell(epochs=9), cell(ignores=("train",))], tune).at == (1, 3)
    assert rungs_of([cell(ignores=("train",))], tune).at == ()
    tuned = cell(epochs=3)
    tuned.cell.space["train.epochs"] = read("train.epochs=3,9,27")
    assert rungs_of([tuned], tune).at == (3, 9)
    assert rungs_of([cell(epochs=9, stop_epoch=3)], tune).at == (1,)


def test_what_cannot_be_pruned_is_refused_with_what_to_do() -> None:
    """A run of one epoch counted in epochs, and folds that would have to pause."""
    with pytest.raises(
        HarnessError, match=r"nothing to judge in t\.m\.lora: a run is 1 epochs long.*tune\.resource=steps"
    ):
        check_pruner([[cell(epochs=1)]], TuneConfig(pruner="asha"))
    check_pruner([[cell(epochs=1)]], TuneConfig(pruner="asha", resource="steps"))
    with pytest.raises(HarnessError, match=r"kfold trains t\.m\.lora once a fold.*tune\.pruner=median"):
        check_pruner([[cell("kfold")]], TuneConfig(pruner="asha"))
    check_pruner([[cell("kfold")]], TuneConfig(pruner="median"))
    check_pruner([[cell("kfold", ("train",))]], TuneConfig(pruner="asha"))


def test_settings_of_a_pruner_are_checked_together(main: Main) -> None:
    """All that is wrong at once, before anything is loaded."""
    code, printed = main(
        "-m", "tune.pruner=asha", "tune.resource=seconds", "tune.min_resource=0", "tune.reduction_factor=1",
        "tune.objectives=[train_seconds]", "plan=true",
    )  # fmt: skip
    assert code == 2
    for words in (
        "tune.resource must be one of epochs",
        "tune.min_resource must be above 0",
        "reduction_factor must be 2",
        "compares one curve",
    ):
        assert words in printed
