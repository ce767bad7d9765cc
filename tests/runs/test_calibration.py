"""Short runs on a slice of the data: what they measure, and that they leave nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.records.run_spec import RunBatch
from harness.runs.calibration import ANSWER, execute, measure
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec


def files(directory: Path) -> set[Path]:
    return {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", ["linear_probe", "lora"])
def test_every_part_of_a_run_is_measured_and_the_cache_stays_as_it_was(
    tmp_path: Path, cache: Path, method: str
) -> None:
    """Frozen features and tokens of a slice are nobody else's."""
    planned = spec(config(tmp_path, cache, method), tmp_path / "there" / "run")
    Path(planned.directory).mkdir(parents=True)
    before = files(cache)
    rates = measure(planned)
    assert files(cache) == before
    assert min(rates.load, rates.feature_row, rates.fit_row, rates.serve, rates.save) > 0
    assert rates.own_bytes > 0
    assert rates.peak_memory_mb > 100
    assert rates.device == "cpu"
    if method == "lora":
        assert min(rates.train_row, rates.evaluate_row, rates.start) > 0
        assert rates.train_row > rates.evaluate_row / 2


def test_a_method_that_fails_says_why_instead(tmp_path: Path, cache: Path) -> None:
    """The plan shows it; nothing is raised into the worker."""
    composed = config(tmp_path, cache, "lora", method__config__target_modules=["nowhere"])
    planned = spec(composed, tmp_path / "there" / "run")
    execute(RunBatch((planned,)))
    assert "nowhere" in json.loads((Path(planned.directory) / ANSWER).read_text())["error"]


def test_folds_are_measured_at_the_size_of_a_fold(tmp_path: Path, cache: Path) -> None:
    task = {"validation": "kfold", "folds": 3, "shots": 6, "validation_path": None}
    planned = spec(config(tmp_path, cache, "linear_probe", task), tmp_path / "there" / "run")
    Path(planned.directory).mkdir(parents=True)
    assert measure(planned).fit_row > 0
