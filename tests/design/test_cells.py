"""What makes a cell, what is tuned, what is fixed: the plan of a study, as the command line gives it."""

from __future__ import annotations

import re
from collections.abc import Callable

from omegaconf import OmegaConf

from harness.design.cells import Cell

Main = Callable[..., tuple[int, str]]


def plan(main: Main, *arguments: str) -> dict[str, tuple[int, int, str]]:
    """{cell: (trials, confirmations, tuned)} from `plan=true`."""
    code, printed = main("-m", "plan=true", "calibrate=false", *arguments)
    assert code == 0, printed
    assert "nothing was started" in printed
    rows = re.findall(r"^(\w+\.\S+)\s+(\d+)\s+(\d+)\s\s+(\S.*?)\s*$", printed, re.MULTILINE)
    return {cell: (int(trials), int(seeds), tuned) for cell, trials, seeds, tuned in rows}


def test_without_arguments_it_is_the_default_study(main: Main) -> None:
    """At least four cells; a method with nothing to tune gets one trial."""
    cells = plan(main)
    assert len(cells) >= 4
    assert cells["demo.minilm.zero_shot"] == (1, 3, "nothing")


def test_choices_make_cells_values_are_tuned(main: Main, monkeypatch: object) -> None:
    """Groups and task.* multiply; a value sweep joins the space of each method that has the key."""
    cells = plan(main, "method=lora,full", "task.max_length=32,64", "train.batch_size=16,32", "tune.trials=5")
    assert set(cells) == {
        f"demo.minilm.{method}.max_length-{length}" for method in ("lora", "full") for length in (32, 64)
    }
    for trials, seeds, tuned in cells.values():
        assert (trials, seeds) == (5, 3)
        assert tuned.startswith("train.lr=")


def test_the_command_line_replaces_what_the_sweep_and_the_method_say(main: Main) -> None:
    """A fixed key leaves the space; a swept one replaces the method's range."""
    (tuned,) = [cell[2] for cell in plan(main, "method=lora", "train.lr=1e-3", "train.head_lr=1e-3,1e-2").values()]
    assert "train.lr" not in tuned
    assert "train.head_lr=1e-3,1e-2" in tuned


def test_axes_make_cells_of_values(main: Main) -> None:
    """`axes=[...]` moves a value to the side of the choices."""
    cells = plan(main, "method=lora", "train.epochs=1,3", "axes=[train.epochs]")
    assert set(cells) == {"demo.minilm.lora.epochs-1", "demo.minilm.lora.epochs-3"}


def test_seeds_are_replicates(main: Main) -> None:
    """A choice over `seed` names the confirmation seeds and makes no cell."""
    assert plan(main, "method=zero_shot", "seed=11,12,13,14") == {"demo.minilm.zero_shot": (1, 4, "nothing")}


def test_a_finite_space_bounds_the_trials(main: Main) -> None:
    """Asking for more than there is asks for all there is."""
    (cell,) = plan(
        main, "method=nearest_mean", "task.max_length=64", "model.pooling=mean,cls", "tune.trials=50"
    ).values()
    assert cell == (2, 3, "model.pooling=mean,cls")


def test_what_a_method_ignores_is_not_tuned(main: Main) -> None:
    """A probe knows no learning rate, so sweeping one beside LoRA leaves the probe's space alone."""
    cells = plan(main, "method=linear_probe,lora", "train.lr=tag(log,interval(1e-4,1e-2))")
    assert "train.lr" not in cells["demo.minilm.linear_probe"][2]
    assert "train.lr" in cells["demo.minilm.lora"][2]


def test_what_only_some_rows_switch_on_is_tuned_in_those(main: Main) -> None:
    """A row without R-Drop stays without it; what no row switches on is tuned in all of them."""
    cells = plan(
        main, "method=bitfit", "train.lr=1e-3", "train.head_lr=1e-3", "regularise=none,r_drop",
        "train.r_drop=interval(0.1,5)", "train.clip=interval(0.5,2)",
    )  # fmt: skip
    tuned = {cell.rpartition("-")[2]: text for cell, (_, _, text) in cells.items()}
    assert "train.r_drop" in tuned["r_drop"] and "train.r_drop" not in tuned["none"]
    assert all("train.clip" in text for text in tuned.values())


def test_a_mapping_sets_keys_beside_the_choice_of_its_group(main: Main) -> None:
    """`model={...}` neither replaces `model=mpnet-base` nor another mapping of the same section."""
    code, printed = main(
        "-m", "method=lora,ia3", "train={lr: 1e-3}", "train={head_lr: 1e-3}", "method={config: {r: 4}}", "plan=true",
        "calibrate=false",
    )  # fmt: skip
    assert code == 0, printed
    assert "lora " in printed
    assert "ia3 " in printed
    assert "train." not in printed
    assert "method.config.r=choice" not in printed


def test_mappings_that_are_tuned_replace_each_other(main: Main) -> None:
    """What a method would tune below such a mapping is not tuned."""
    (tuned,) = [cell[2] for cell in plan(main, "method=lora_plus", "method.rates={lora_B:4},{lora_A:2}").values()]
    assert "method.rates.lora_B" not in tuned
    config = OmegaConf.create({"method": {"rates": {"lora_B": 16}}})
    cell = Cell("c", "demo", "minilm", "lora_plus", {}, config)
    assert cell.resolve({"method.rates": {"lora_A": 2}})["method"]["rates"] == {"lora_A": 2}


def test_several_mappings_are_no_choices(main: Main) -> None:
    """A section is named key by key."""
    for given in ("method={name:a},{name:b}", "method.config={r:8},{r:4}"):
        code, printed = main("-m", "method=lora", given, "plan=true")
        assert code == 2
        assert "has several values" in printed
