"""Which runs may share passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config.instantiate import build
from harness.config.schema import LaunchConfig
from harness.launch.run_batching import AUTO, batch_key, max_fused
from tests.helpers.small_dataset import config


def test_number_of_runs_is_what_the_key_says() -> None:
    """`auto` has a bound, `off` is one run at a time, a number is itself."""
    assert [max_fused(LaunchConfig(fuse=value)) for value in ("auto", "off", "5")] == [AUTO, 1, 5]


def test_runs_of_one_task_model_and_precision_are_partners(tmp_path: Path, cache: Path) -> None:
    """Method, rank, rates, seed and schedule may differ; data, model, precision and device may not."""
    one = batch_key(config(tmp_path, cache, "lora"), "bert")
    assert one is not None
    for method, changes in (
        ("ia3", {}), ("bitfit", {}), ("lora", {"seed": 4, "train__lr": 1.0, "method__config__r": 2}),
    ):  # fmt: skip
        assert batch_key(config(tmp_path, cache, method, **changes), "bert") == one
    for changes in (
        {"task__max_length": 8},
        {"model__pooling": "cls"},
        {"train__precision": "bf16"},
        {"device": "cuda"},
    ):
        assert batch_key(config(tmp_path, cache, "lora", **changes), "bert") != one


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("full", {}),
        ("linear_probe", {}),
        ("pissa", {}),
        ("lora", {"train__r_drop": 1.0}),
        ("lora", {"model__pooling": "model"}),
        ("lora", {"tune": {"objectives": ["latency_p50_seconds"]}}),
        ("lora", {"tune": {"constraints": {"peak_memory_mb": 2000.0}}}),
    ],
)
def test_runs_that_compute_alone_have_no_partners(
    method: str, changes: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    """Where the method does not pack, a step needs more than one pass, or a study goes by what a process measures."""
    assert batch_key(config(tmp_path, cache, method, **changes), "bert") is None


def test_confirmations_are_alone_where_the_report_goes_by_what_a_process_measures(tmp_path: Path, cache: Path) -> None:
    """Their peak memory and energy are then their own; trials, by which it does not go, may share passes."""
    for cost, alone in (("train_seconds", False), ("peak_memory_mb", True), ("energy_joules", True)):
        composed = config(tmp_path, cache, "lora", report={"cost": cost})
        assert batch_key(composed, "bert", "tune") is not None
        assert (batch_key(composed, "bert", "confirm") is None) == alone


@pytest.mark.parametrize("architecture", ["deberta-v2", "modernbert", "gemma2", "t5", "mpnet", "albert", None])
def test_models_whose_passes_are_not_shared_are_trained_alone(
    architecture: str | None, tmp_path: Path, cache: Path
) -> None:
    """Side by side they would take turns, each with a whole model in memory."""
    assert batch_key(config(tmp_path, cache, "lora"), architecture) is None


def test_architecture_is_read_from_the_model(tmp_path: Path, cache: Path) -> None:
    """From its config.json, wherever its files come from; None where it does not say."""
    model = build(config(tmp_path, cache, "lora")["model"]).resolve(cache)
    assert model.architecture == "bert"
    for number, content in enumerate(("{}", "[]", "{")):
        (place := tmp_path / str(number)).mkdir()
        (place / "config.json").write_text(content, encoding="utf-8")
        assert replace(model, path=place).architecture is None
