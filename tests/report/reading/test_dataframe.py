"""Records as a pandas table."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from harness.errors import HarnessError
from harness.report import records
from tests.report.conftest import Builder

CELL = "demo.minilm.lora"


def test_records_of_several_studies_make_one_table(tmp_path: Path) -> None:
    """A row a run, whatever became of it; columns for metrics and costs; what is not known is missing."""
    for name, accuracy in (("a", 0.7), ("b", 0.9)):
        study = Builder(tmp_path / name)
        for seed in (1, 2):
            metrics = {"val": {}, "test": {"accuracy": accuracy}}
            study.run(CELL, f"c{seed}", phase="confirm", seed=seed, metrics=metrics, cost={"train_seconds": 2.0})
        study.run(CELL, "t000", trial=0, status="running")
    for _ in range(2):  # from JSON, then from what was compacted of it
        table = records(tmp_path / "a", str(tmp_path / "b"))
        assert sorted(table["status"]) == ["ok"] * 4 + ["running"] * 2
        done = table[table.phase == "confirm"]
        assert done.groupby("study").test_accuracy.mean().to_dict() == pytest.approx({"a": 0.7, "b": 0.9})
        assert list(done.train_seconds) == [2.0] * 4
        assert done.val_accuracy.isna().all()
        assert set(table.run) == {f"{CELL}/{name}" for name in ("c1", "c2", "t000")}
    assert list(records(tmp_path / "a", columns=["cost", "seed"])) == ["cost", "seed"]


def test_a_study_without_runs_gives_an_empty_table(tmp_path: Path) -> None:
    """The columns are there."""
    assert list(records(tmp_path, columns=["method", "test_loss"])) == ["method", "test_loss"]
    assert isinstance(records(), pandas.DataFrame)


def test_what_cannot_be_read_is_told(study: Builder) -> None:
    """And left out."""
    study.run(CELL, "t000", trial=0)
    study.run(CELL, "t001", trial=1).write_text("{", encoding="utf-8")
    study.run(CELL, "t002", trial=2, seed=2**70)
    with pytest.warns(UserWarning, match="left out") as told:
        assert len(records(study.directory)) == 1
    assert len(told) == 2


def test_unknown_columns_and_studies_are_told_with_their_alternatives(study: Builder) -> None:
    """A mistake names what there is."""
    study.run(CELL, "t000", trial=0)
    with pytest.raises(HarnessError, match=r"no column acuracy.*test_accuracy"):
        records(study.directory, columns=["acuracy"])
    with pytest.raises(HarnessError, match=r"There is no study at .*supprt.*Did you mean support"):
        records(study.directory.with_name("supprt"))
