"""Report definitions: rows, columns, order, pivot and settings from a file, and what is said of mistakes in it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.report import write
from harness.report.tables.columns import FIELDS
from harness.report.tables.definition import Definition, read_definition
from harness.report.tables.filters import Condition
from harness.report.tables.report import Report
from harness.report.tables.table import COLUMNS
from tests.report.conftest import Builder, asked

pytestmark = pytest.mark.usefixtures("no_figures")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two methods at three numbers of shots; the largest is still to be run with one of them."""
    study = Builder(tmp_path_factory.mktemp("shots") / "runs" / "shots")
    cells = []
    for method, base in (("lora", 0.5), ("full", 0.6)):
        for number in (1, 5, 10):
            cell = f"demo.minilm.{method}.shots-{number}"
            variant = {"task.shots": number}
            cells.append(asked(cell, variant=variant))
            if (method, number) != ("full", 10):
                metrics = {"val": {}, "test": {"accuracy": base + number / 100, "macro_f1": 0.25}}
                values = {"metrics": metrics, "variant": variant, "hyperparameters": {"train.lr": number / 1000}}
                study.run(cell, "c1", phase="confirm", seed=1, **values)
    study.sweep(cells, confirm={"seeds": [1]})
    return study.directory


def definition(tmp_path: Path, text: str) -> Definition:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return read_definition(path)


def made(shots: Path, tmp_path: Path, text: str) -> Report:
    return write(shots, tmp_path / "out", definition=definition(tmp_path, text))


def shown(report: Report) -> list[str]:
    return [f"{row.cell.method} {row.cell.variant['task.shots']}" for row in report.rows]


@pytest.mark.parametrize("path", sorted((ROOT / "reports").glob("*.yaml")), ids=lambda path: path.stem)
def test_definitions_that_come_with_the_program_can_be_read(path: Path) -> None:
    """Each, found by name too; the default one is the default, key by key."""
    read = read_definition(path)
    assert read_definition(Path(path.stem)).columns == read.columns
    if path.stem == "default":
        assert read == Definition(source=str(path))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["method == lora"], ["lora 10", "lora 5", "lora 1"]),
        (["task.shots >= 5"], ["full 5", "lora 10", "lora 5", "full 10"]),
        (["method in lora, full", "task.shots not in 1, 5"], ["lora 10", "full 10"]),
        (["method != full"], ["lora 10", "lora 5", "lora 1"]),
        (["cell like *lora*"], ["lora 10", "lora 5", "lora 1"]),
        (["status == ok"], ["full 5", "full 1", "lora 10", "lora 5", "lora 1"]),
        (["test_mean > 0.55"], ["full 5", "full 1", "lora 10"]),
        (["train.lr < 0.01"], ["full 5", "full 1", "lora 5", "lora 1"]),
        (["test.macro_f1 == 0.25"], ["full 5", "full 1", "lora 10", "lora 5", "lora 1"]),
    ],
)
def test_rows_are_chosen_by_conditions(shots: Path, tmp_path: Path, conditions: list[str], expected: list[str]) -> None:
    """On names, axes, hyperparameters, metrics and status; what is not known meets no condition but `not`."""
    assert sorted(shown(made(shots, tmp_path, f"rows: {json.dumps(conditions)}"))) == sorted(expected)


def test_outcomes_hide_rows_and_change_no_comparison(shots: Path, tmp_path: Path) -> None:
    """What was asked decides what is compared; what came out only what is shown, and the page says so."""
    report = made(shots, tmp_path, "rows: test_mean > 0.6")
    assert report.hidden == 4
    assert sum(len(question.rows) for question in report.evidence.questions) == 6
    assert "4 rows that the definition leaves out took part in every comparison." in report.page.read_text("utf-8")
    report = made(shots, tmp_path, "rows: task.shots == 5")
    assert report.hidden == 0
    assert sum(len(question.rows) for question in report.evidence.questions) == 2


def test_every_column_of_the_table_is_a_field() -> None:
    """What a definition may name is what table.csv shows."""
    assert set(COLUMNS) <= set(FIELDS)


def test_columns_and_order_are_as_asked(shots: Path, tmp_path: Path) -> None:
    """In every table for people; what is not known comes last either way; table.csv keeps all its columns."""
    text = "columns: [method, task.shots, test_mean, test.macro_f1]\nsort: [method, -task.shots]\ntitle: By <shots>"
    report = made(shots, tmp_path, text)
    assert shown(report) == ["full 10", "full 5", "full 1", "lora 10", "lora 5", "lora 1"]
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert table.startswith("# By &lt;shots&gt;\n")
    assert "| method | task.shots | test accuracy, % | test macro F1 |" in table
    assert "| lora | 5 | 55.0 | 25.0 % |" in table
    assert made(shots, tmp_path, "sort: test_mean").rows[-1].test_mean is None
    assert made(shots, tmp_path, "sort: -test_mean").rows[-1].test_mean is None
    head = next(csv.reader((tmp_path / "out" / "table.csv").open(encoding="utf-8", newline="")))
    assert head[:5] == ["task", "model", "method", "variant", "metric"]


def test_pivot_stands_in_the_page_and_in_three_files(shots: Path, tmp_path: Path) -> None:
    """Columns in the order of their numbers; a place without a row or value is empty; it goes when it is not asked."""
    text = "pivot: {rows: method, columns: task.shots, value: test_mean}"
    report = made(shots, tmp_path, text)
    lines = list(csv.reader((tmp_path / "out" / "pivot.csv").open(encoding="utf-8", newline="")))
    assert lines[0] == ["method by task.shots", "1", "5", "10"]
    assert {line[0]: line[1:] for line in lines[1:]} == {
        "full": ["0.61", "0.65", ""],
        "lora": ["0.51", "0.55", "0.6"],
    }
    assert "| lora | 51.0 | 55.0 | 60.0 |" in (tmp_path / "out" / "pivot.md").read_text(encoding="utf-8")
    assert r"lora & 51.0 & 55.0 & 60.0 \\" in (tmp_path / "out" / "pivot.tex").read_text(encoding="utf-8")
    assert "test by method and task.shots" in report.page.read_text(encoding="utf-8")
    made(shots, tmp_path, "title: x")
    assert not list((tmp_path / "out").glob("pivot.*"))


def test_settings_are_read(tmp_path: Path) -> None:
    """Those that are named, and no others."""
    read = definition(
        tmp_path, "settings: {margin: 0.02, cost: peak_memory_mb, requests_per_month: 1000, examples: false}"
    )
    assert read.settings == {
        "margin": 0.02,
        "cost": "peak_memory_mb",
        "requests_per_month": 1000,
        "examples": False,
    }


def test_settings_are_those_of_the_definition_else_of_the_study(study: Builder, tmp_path: Path) -> None:
    """A report that is made again judges as the study was asked to."""
    study.sweep([asked("demo.minilm.lora")], report={"margin": 0.03, "months": 6, "later": 1})
    study.run("demo.minilm.lora", "c1", phase="confirm", seed=1, metrics={"val": {}, "test": {"accuracy": 0.7}})
    settings = write(study.directory, tmp_path / "out").settings
    assert (settings.margin, settings.months, settings.confidence) == (0.03, 6, 0.95)
    settings = write(
        study.directory, tmp_path / "out", definition=definition(tmp_path, "settings: {months: 1}")
    ).settings
    assert (settings.margin, settings.months) == (0.03, 1)


def test_every_mistake_in_a_file_is_said_at_once(tmp_path: Path) -> None:
    """With the alternatives."""
    text = (
        "titel: x\nrows: [lora]\ncolumns: {a: 1}\npivot: {rows: method, value: x, colums: y}\n"
        "settings: {cost: peak_memory, margn: 1, examples: 3, confidence: 2}"
    )
    with pytest.raises(HarnessError) as raised:
        definition(tmp_path, text)
    problems = raised.value.problems
    for message in (
        "titel is no key of a report definition. Did you mean title?",
        "rows: 'lora' is no condition. Write `<field> <sign> <value>`",
        "columns must be a text or a list of texts, not {'a': 1}.",
        "pivot.colums is unknown. Did you mean columns?",
        "pivot.columns must name a field.",
        "settings: cost=peak_memory is unknown. Did you mean peak_memory_mb",
        "settings.margn is unknown. Did you mean margin?",
        "settings.examples must be like True, not 3.",
        "settings: confidence must lie between 0.5 and 1, not 2.",
    ):
        assert any(message in problem for problem in problems), message


def test_fields_that_no_row_has_are_said_at_once(shots: Path, tmp_path: Path) -> None:
    """With the nearest ones; an order of names is none."""
    text = (
        "columns: [methd, test_mean]\nsort: -test_men\nrows: [task.shot > 1, method > a]\n"
        "pivot: {rows: method, columns: shots}"
    )
    with pytest.raises(HarnessError) as raised:
        made(shots, tmp_path, text)
    problems = "\n".join(raised.value.problems)
    assert "columns names methd, which no row has. Did you mean method?" in problems
    assert "sort names test_men, which no row has. Did you mean test_mean" in problems
    assert "rows names task.shot, which no row has. Did you mean task.shots" in problems
    assert "pivot.columns names shots, which no row has. Did you mean task.shots" in problems
    assert "rows orders method with > a, but order is for numbers." in problems


@pytest.mark.parametrize("condition", ["method == none", "test_mean > 2"])
def test_conditions_that_no_row_meets_are_an_error(shots: Path, tmp_path: Path, condition: str) -> None:
    """An empty table would look like an empty study."""
    with pytest.raises(HarnessError, match=r"no row meets `(method == none|test_mean > 2)`, of 6\. Loosen rows\."):
        made(shots, tmp_path, f"rows: {condition}")


def test_definition_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    """Names those that come with the program, or says why."""
    with pytest.raises(HarnessError, match=r"There is no report definition reports/pivto.yaml.*Did you mean pivot\?"):
        read_definition(Path("reports/pivto.yaml"))
    with pytest.raises(HarnessError, match="cannot be read as a report definition"):
        definition(tmp_path, "rows: [")
    with pytest.raises(HarnessError, match="must hold keys"):
        definition(tmp_path, "- 1")


def test_values_of_conditions_are_numbers_where_they_look_like_it() -> None:
    """Lists with or without brackets; texts with signs and spaces inside."""
    assert Condition.parse("task.shots in 1, 5") == Condition("task.shots", "in", [1, 5])
    assert Condition.parse("method not in [lora, full]") == Condition("method", "not in", ["lora", "full"])
    assert Condition.parse("error like *out of memory*") == Condition("error", "like", "*out of memory*")
    assert Condition.parse("val_best<=0.5") == Condition("val_best", "<=", 0.5)
