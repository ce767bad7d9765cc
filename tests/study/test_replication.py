"""Seeds are added only to cells whose verdict is open, at planned looks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from harness.config.schema import ConfirmConfig, ReportConfig
from harness.errors import HarnessError
from harness.records.states import RunStatus
from harness.statistics import sequential
from harness.study.cell_scheduler import CellScheduler
from harness.study.replication import Replication, plan_looks
from tests.study.test_survival import Study


def test_looks_grow_to_the_cap() -> None:
    """From the seeds that all begin with, each look is half as large again, and the cap is the last."""
    assert plan_looks(ConfirmConfig(seeds=3, max_seeds=15), 3) == [3, 5, 8, 12, 15]
    assert plan_looks(ConfirmConfig(seeds=3, max_seeds=4), 3) == [3, 4]
    assert plan_looks(ConfirmConfig(seeds=3), 3) == []
    assert plan_looks(ConfirmConfig(seeds=2, looks=[2, 10]), 2) == [2, 10]


def test_looks_must_fit_the_seeds() -> None:
    """Looks that begin elsewhere, or a cap below the seeds that were named, are told."""
    with pytest.raises(HarnessError, match="must begin at the 3 seeds"):
        plan_looks(ConfirmConfig(looks=[2, 10]), 3)
    with pytest.raises(HarnessError, match="one seed gives no estimate"):
        plan_looks(ConfirmConfig(max_seeds=4), 1)
    with pytest.raises(HarnessError, match="below the 5 seeds"):
        plan_looks(ConfirmConfig(max_seeds=4), 5)


def test_a_failed_confirmation_is_not_replaced_in_silence() -> None:
    """Another seed is tried, the failure stays a result, and it is told; after too many none is tried."""
    said: list[str] = []
    for failed, more in ((0, 1), (1, 1), (4, 0)):
        ended = [(None, SimpleNamespace(status="failed"))] * failed
        added: list[int] = []
        confirmation = SimpleNamespace(
            seeds=(1, 2, 3), specs=(1, 2, 3), ended=lambda e=ended: e, add_seeds=added.extend
        )
        cell = cast(CellScheduler, SimpleNamespace(id="demo.lora", confirmation=confirmation))
        replication = Replication([], [3, 5], 0, ReportConfig(), said.append)
        assert replication._add_seeds(cell, 1) == more == len(added)
    (line,) = said
    assert line.startswith("demo.lora: 1 of 3 confirmations failed. 1 seed more")
    assert "count as results" in line


def test_only_open_cells_get_seeds(tmp_path: Path, cache: Path) -> None:
    """Methods whose seeds agree stay with what they have; an open one gets more; a restart adds none."""
    study = Study(
        tmp_path / "study", cache, "method=nearest_mean,linear_probe,bitfit", "tune.trials=1", "confirm.seeds=2",
        "confirm.max_seeds=4", "report.margin=0.2", "train.epochs=1", "train.head_init=random", "train.head_lr=1e-4",
        "launch.kind=inline",
    )  # fmt: skip
    code, printed = study.finish()
    assert code == 0, printed
    seeds: dict[str, list[int]] = {}
    for record in study.records():
        if record["phase"] == "confirm":
            seeds.setdefault(record["method"], []).append(record["seed"])
    assert sorted(seeds["nearest_mean"]) == sorted(seeds["linear_probe"]) == [1, 2]
    assert sorted(seeds["bitfit"]) in ([1, 2, 3], [1, 2, 3, 4])
    assert "Look 1 of 3 at csv" in printed and "csv.minilm.bitfit +1" in printed
    (asked,) = study.runs.parent.glob("sweep.yaml")
    assert yaml.safe_load(asked.read_text())["confirm"]["looks"] == [2, 3, 4]
    before = len(study.records())
    code, printed = study.finish()
    assert code == 0 and len(study.records()) == before


def test_looks_count_failed_seeds_as_the_report_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed seed stands as the most frequent class at its place, so it is not replaced; excluded ones are."""
    seen: list[list[np.ndarray]] = []

    def watched(scores: list[np.ndarray], *rest: object, **named: object) -> object:
        seen.append(scores)
        assert named["groups"] is None
        return sequential(scores, *rest, **named)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr("harness.study.replication.sequential", watched)
    for failed_as, rows in (("majority", 3), ("worst", 3), ("excluded", 2)):
        added: dict[str, list[int]] = {"a": [], "b": []}
        cells = [_confirmed(tmp_path, name, failed, added[name]) for name, failed in (("a", ()), ("b", (2,)))]
        Replication(cells, [3, 5], 0, ReportConfig(failed_as=failed_as), lambda _: None).advance()
        (first, second) = seen[-1]
        assert len(first) == 3 and len(second) == rows
        if failed_as == "majority":
            assert second[1].mean() == 0.5  # two classes, as frequent
        assert bool(added["b"]) or failed_as != "excluded"


def _confirmed(directory: Path, name: str, failed: tuple[int, ...], added: list[int]) -> CellScheduler:
    """A cell whose three confirmations have ended, some of them without a result."""
    ended = []
    for seed in (1, 2, 3):
        path = directory / f"{name}{seed}" / "predictions.parquet"
        path.parent.mkdir(exist_ok=True)
        generator = np.random.default_rng((seed, len(name) + ord(name)))
        table = {
            "split": ["test"] * 200, "id": range(200), "label": ["x", "y"] * 100,
            "score_accuracy": (generator.random(200) < 0.8).astype(float),
        }  # fmt: skip
        parquet.write_table(pa.table(table, metadata={"family": "text_classification"}), path)
        spec = SimpleNamespace(paths=SimpleNamespace(predictions=path), config={"seed": seed}, replicate=0)
        ended.append((spec, SimpleNamespace(status=RunStatus.FAILED if seed in failed else RunStatus.OK)))
    confirmation = SimpleNamespace(
        seeds=(1, 2, 3), specs=(1, 2, 3), ended=lambda: ended, add_seeds=added.extend, selection=None
    )
    cell = SimpleNamespace(task="demo", variant={}, metric="accuracy", maximize=True)
    return cast(CellScheduler, SimpleNamespace(id=name, cell=cell, confirmation=confirmation, done=True))
