"""The table of costs: what follows from an entry, everywhere."""

from __future__ import annotations

import ast
import csv
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset
import pytest

from harness.api.cost import COSTS, COUNT, choosable, joined, recorded, renamed, reported, tuned, unit_of
from harness.config.schema import LimitsConfig
from harness.records.record import Record
from harness.records.study_files import StudyPaths
from tests.report.conftest import Builder, asked

ROOT = Path(__file__).resolve().parents[2]
# A cost of a later version: its entry is all that is added.
WATER = """
import sys
from harness.api.cost import COSTS, Cost
COSTS["water_liters"] = Cost("water_liters", "water", "water of a run", "Liters a run took.", cell="mean", tuned=True)
from harness.config.schema import LimitsConfig, TuneConfig
from harness.launch.run_batching import searched_costs
assert LimitsConfig(water_liters=3.0).given == {"water_liters": 3.0}
import importlib
importlib.import_module("harness.report.write").draw = lambda rows, found: []
from harness.report.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_entry_makes_a_cost(tmp_path: Path) -> None:
    """A new cost is in records.parquet, table.csv, the page, and decides what is recommended."""
    study = Builder(tmp_path / "runs" / "s")
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    for method, water in (("lora", 7.0), ("full", 2.5)):
        for seed in (1, 2, 3):
            path = study.run(
                f"demo.minilm.{method}", f"c{seed}", phase="confirm", seed=seed,
                metrics={"val": {"accuracy": 0.9}, "test": {"accuracy": 0.9}}, cost={"water_liters": water + seed},
            )  # fmt: skip
            study.predictions(path, ["a", "b"] * 200, ["a", "b"] * 200)
    done = subprocess.run(
        [sys.executable, "-c", WATER, str(study.directory), "--cost", "water_liters", "--margin", "0.05",
         "--output", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in csv.DictReader((tmp_path / "out" / "table.csv").open(encoding="utf-8"))}
    assert {name: row["water_liters"] for name, row in rows.items()} == {"lora": "9.0", "full": "4.5"}
    assert rows["full"]["recommended"] == "yes"
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "the lowest water of a run (4.5" in page
    assert 'title="Liters a run took."' in page
    table = pyarrow.dataset.dataset(StudyPaths(study.directory).compacted).to_table()
    assert sorted(table["water_liters"].to_pylist()) == [3.5, 4.5, 5.5, 8.0, 9.0, 10.0]


def test_no_other_module_lists_costs() -> None:
    """A tuple, list or dictionary of many costs belongs into the table; the places of old columns are the exception."""
    found = []
    for path in sorted((ROOT / "harness").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                continue
            items = node.keys if isinstance(node, ast.Dict) else node.elts
            names = {item.value for item in items if isinstance(item, ast.Constant)} & {*COSTS}
            if len(names) > 4:
                found.append(str(path.relative_to(ROOT)))
    assert found == ["harness/report/tables/table.py"]


def test_what_the_table_says() -> None:
    """Names end with their units, and rules hold between attributes."""
    for cost in COSTS.values():
        assert cost.better in ("lower", "higher", "") and cost.about.endswith(".") and cost.head and cost.title
        assert not cost.tuned or (cost.better == "lower" and cost.measured != "report")
        assert cost.measured != "serving" or cost.one_model
        assert not cost.of or cost.of in COSTS
        assert cost.parts in ("sum", "max", "") and cost.attempts in ("sum", "max", "carried", "")
    assert set(tuned()) <= set(recorded())
    assert set(choosable()) < set(reported())
    assert tuple(vars(LimitsConfig())) == tuned()
    assert set(joined("sum", "max")) == {
        "total_seconds", "accelerator_seconds", "core_seconds", "peak_memory_mb", "energy_joules",
    }  # fmt: skip
    assert unit_of("params_trainable") == unit_of("of_a_later_version") == COUNT
    assert unit_of("new_joules") == "joules"


def test_names_of_earlier_versions(tmp_path: Path) -> None:
    """A record that was written with a former name is read with the present one."""
    assert renamed({"pack_size": 3, "steps": 1}) == {"fused_runs": 3, "steps": 1}
    record = Record("s", "ok", "s", "t.m.e", "tune", "t", "m", "e", seed=0, cost={"pack_size": 4})
    record.write(tmp_path / "record.json")
    read = Record.read(tmp_path / "record.json")
    assert read is not None and read.cost == {"fused_runs": 4}


@pytest.mark.parametrize("document", ["docs/files.md"])
def test_costs_are_documented(document: str) -> None:
    """Every reported cost is named where table.csv is described."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert not [name for name in reported() if f"`{name}`" not in text]
