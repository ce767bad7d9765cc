"""Several studies in one report: rows that coincide are told apart, and other data is another question."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.report import write
from harness.report.__main__ import main
from tests.report.conftest import FACTS, Builder, asked

pytestmark = pytest.mark.usefixtures("no_figures")


def study(directory: Path, methods: tuple[str, ...], score: float, fingerprint: str = "f1", shots: int = 10) -> Path:
    """Write a study of one task, each method confirmed once."""
    builder = Builder(directory)
    question = {"data": fingerprint, "config": {"task": {"name": "demo", "shots": shots, "metric": "accuracy"}}}
    builder.sweep([asked(f"demo.minilm.{method}", question=question) for method in methods], confirm={"seeds": [1]})
    for method in methods:
        metrics = {"val": {}, "test": {"accuracy": score}}
        data = FACTS | {"fingerprint": fingerprint}
        builder.run(f"demo.minilm.{method}", "c1", phase="confirm", seed=1, metrics=metrics, data=data)
    return directory


def test_cells_that_coincide_are_rows_of_each_study(tmp_path: Path) -> None:
    """They carry the study; others do not need to; all answer one question, best first."""
    one = study(tmp_path / "runs" / "one", ("lora", "full"), 0.7)
    two = study(tmp_path / "runs" / "two", ("lora", "ia3"), 0.8)
    report = write([one, two], tmp_path / "out")
    assert report.study.name == "one + two"
    assert [(row.cell.method, row.cell.variant, row.test_mean) for row in report.rows] == [
        ("ia3", {}, 0.8),
        ("lora", {"study": "two"}, 0.8),
        ("full", {}, 0.7),
        ("lora", {"study": "one"}, 0.7),
    ]
    assert len(report.evidence.questions) == 1
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open(encoding="utf-8", newline="")))
    assert [(row["method"], row["study"]) for row in table] == [
        ("ia3", "two"), ("lora", "two"), ("full", "one"), ("lora", "one"),
    ]  # fmt: skip


def test_other_data_is_another_question(tmp_path: Path) -> None:
    """What the tasks were set to tells it, else the data's fingerprint; they are never compared."""
    one = study(tmp_path / "runs" / "one", ("lora",), 0.7)
    two = study(tmp_path / "runs" / "two", ("full",), 0.8, fingerprint="f2", shots=30)
    three = study(tmp_path / "runs" / "three", ("ia3",), 0.8, fingerprint="f3abcdefghi", shots=10)
    report = write([one, two], tmp_path / "out")
    assert {row.cell.method: row.cell.variant for row in report.rows} == {
        "lora": {"task.shots": 10},
        "full": {"task.shots": 30},
    }
    assert len(report.evidence.questions) == 2
    report = write([one, three], tmp_path / "out")
    assert {row.cell.method: row.cell.variant for row in report.rows} == {
        "lora": {"task.data": "f1"},
        "ia3": {"task.data": "f3abcdef"},
    }
    assert len(report.evidence.questions) == 2


def test_studies_of_one_name_are_told_apart_by_their_place(tmp_path: Path) -> None:
    """And one that is given twice is an error."""
    one = study(tmp_path / "a" / "runs" / "same", ("lora",), 0.7)
    two = study(tmp_path / "b" / "runs" / "same", ("lora",), 0.8)
    report = write([one, two], tmp_path / "out")
    assert {row.cell.variant["study"] for row in report.rows} == {"a/runs/same", "b/runs/same"}
    with pytest.raises(HarnessError, match=r"same is given twice"):
        write([one, one], tmp_path / "out")


def test_command_takes_several_studies_and_a_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report goes to the directory that its definition, or its studies, name."""
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "runs" / "one", ("lora",), 0.7)
    study(tmp_path / "runs" / "two", ("full",), 0.8)
    assert main(["runs/one", "runs/two", "--margin", "0.02", "--no-examples"]) == 0
    assert (tmp_path / "reports" / "one+two" / "index.html").is_file()
    (tmp_path / "mine.yaml").write_text("title: Both\nstudies: [runs/one, runs/two]", encoding="utf-8")
    assert main(["--definition", "mine.yaml"]) == 0
    assert "<title>Both</title>" in (tmp_path / "reports" / "mine" / "index.html").read_text(encoding="utf-8")
    assert main(["runs/one", "--cost", "latency_p50"]) == 2
    assert "cost=latency_p50 is unknown. Did you mean latency_p50_seconds" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "no study is named" in capsys.readouterr().err
