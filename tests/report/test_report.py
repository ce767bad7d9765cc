"""The report as a whole: its files, its command, and studies in every state."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.report import Report, text_table, write
from tests.report.conftest import Builder, asked, make_large


class Page(HTMLParser):
    """Counts elements and collects attributes and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(directory: Path, name: str = "index.html") -> str:
    return (directory / name).read_text(encoding="utf-8")


def test_report_has_page_tables_and_figures(reported: Report) -> None:
    """Every format is written; the page shows every cell, the failed one with its reason, and loads nothing."""
    report = reported
    files = sorted(str(path.relative_to(report.output)) for path in report.output.rglob("*") if path.is_file())
    drawn = ("cost", "rate", "scores", "seconds")  # a trial was pruned, so their number is no budget
    figures = [f"figures/{name}-banking77.{suffix}" for name in drawn for suffix in ("png", "svg")]
    assert files == [*figures, "index.html", "table.csv", "table.md", "table.tex"]
    page = Page(read(report.output))
    question = report.evidence.questions[0]
    for part in (question.answer, question.recommendation.removeprefix(question.answer).strip()):
        assert part and part in page.text
    assert page.tags.count("details") == 8
    assert "IA3 found no module named 'query | key' in this backbone." in page.text
    assert "selected with 1540 labels beyond the shots" in page.text
    assert "2 test rows (0.1%) occur among the training rows as well." in page.text
    assert page.tags.count("svg") == len(drawn)
    assert len(page.ids) == len(set(page.ids))
    links = [value or "" for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(link.startswith(("#", "table.")) for link in links)


def test_people_read_percentages_with_the_best_in_bold(reported: Report) -> None:
    """Markdown, LaTeX and the terminal: percentages, the best row marked, the failed row's reason in reach."""
    from rich.console import Console

    output = reported.output
    assert "| **full** | **87.3 ± 0.5** | 3 | 86.6 ± 0.9 |" in read(output, "table.md")
    assert r"failed: IA3 found no module named 'query \| key' in this backbone." in read(output, "table.md")
    assert r"\textbf{full} & \textbf{87.3 $\pm$ 0.5} & 3 & 86.6" in read(output, "table.tex")
    assert r"linear\_probe & 85.8 $\pm$ 0.0" in read(output, "table.tex")
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - nothing to print to
    console.print(text_table(reported))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 100
    assert "linear_probe" in shown
    assert "failed: IA3" in shown


def test_running_study_shows_validation_scores_and_what_runs(study: Builder, tmp_path: Path) -> None:
    """Before any confirmation: no figure, a validation score, and the running cell."""
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    study.run("demo.minilm.lora", "t0", trial=0, metrics={"val": {"accuracy": 0.81}, "test": {}})
    study.run("demo.minilm.lora", "t1", trial=1, status="running", metrics={"val": {}, "test": {}})
    report = write(study.directory, tmp_path / "out")
    page = Page(read(report.output)).text
    assert "no cell has met the test split yet; the best validation accuracy so far is 81.0 %, by lora." in page
    assert "1 running" in page
    assert "not started" in page
    assert not (report.output / "figures").exists()


def test_report_is_replaced_as_the_study_goes_on(study: Builder, tmp_path: Path) -> None:
    """A second report to the same directory shows the new state and leaves no stale figure."""
    for task in ("one", "two"):
        study.sweep([asked(f"{task}.minilm.lora")])
        metrics = {"val": {}, "test": {"accuracy": 0.7}}
        path = study.run(f"{task}.minilm.lora", "c1", phase="confirm", seed=1, metrics=metrics)
        write(study.directory, tmp_path / "out")
        assert {file.name for file in (tmp_path / "out" / "figures").iterdir()} == {
            f"scores-{task}.svg",
            f"scores-{task}.png",
        }
        path.unlink()


def test_same_study_gives_the_same_figures_and_tables(finished: Path, reported: Report, tmp_path: Path) -> None:
    """Nothing but the time of writing changes, so a committed report has readable diffs."""
    first, second = reported.output, write(finished, tmp_path).output
    for path in first.rglob("*"):
        if path.is_file() and path.suffix in (".svg", ".csv", ".md", ".tex"):
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "damage",
    ["", "{", '{"schema": 1, "status"', "[]", "null", '{"signature": "a"}', "\x00\x01", "status", "metrics", "seed"],
)
def test_unreadable_record_is_a_warning_and_is_counted(study: Builder, tmp_path: Path, damage: str) -> None:
    """A record truncated by a full disk, or of strange content, costs that run only and is named."""
    study.sweep([asked("demo.minilm.lora")])
    study.run("demo.minilm.lora", "c1", phase="confirm", seed=1, metrics={"val": {}, "test": {"accuracy": 0.7}})
    bad = study.run("demo.minilm.lora", "c2", phase="confirm", seed=2)
    if damage in ("status", "metrics", "seed"):
        damage = json.dumps(json.loads(bad.read_text(encoding="utf-8")) | {damage: {"test": 3}})
    bad.write_text(damage, encoding="utf-8")
    report = write(study.directory, tmp_path / "out")
    assert len(report.study.warnings) == 1
    assert report.study.warnings[0].startswith("Unreadable: demo.minilm.lora/c2/record.json (")
    assert "demo.minilm.lora/c2/record.json" in Page(read(report.output)).text
    (row,) = report.rows
    assert (row.cell.unreadable, row.test_values, row.status) == (1, (0.7,), "partial")


@pytest.mark.parametrize("content", ["cells: [", "report:\n  margin: 0.01\n  cost: train_sec"])  # broken; cut short
def test_damaged_sweep_file_is_a_warning_where_records_remain(study: Builder, tmp_path: Path, content: str) -> None:
    """The table is made from the records alone."""
    study.run("demo.minilm.lora", "c1", phase="confirm", seed=1, metrics={"val": {}, "test": {"accuracy": 0.7}})
    (study.directory / "sweep.yaml").write_text(content, encoding="utf-8")
    report = write(study.directory, tmp_path / "out")
    assert [row.test_mean for row in report.rows] == [0.7]
    assert report.study.warnings[0].startswith("sweep.yaml cannot be read (")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "content", ["{}", "cells: []", "cells: [1, {}, {id: a.b.c}]\nconfirm: 3\ntune: null", "name: x"]
)
def test_sweep_file_with_missing_keys_is_tolerated(study: Builder, tmp_path: Path, content: str) -> None:
    """What is missing is simply not shown."""
    study.run("demo.minilm.lora", "t0", trial=0, metrics={"val": {"accuracy": 0.7}, "test": {}}, data={}, provenance={})
    (study.directory / "sweep.yaml").write_text(content, encoding="utf-8")
    assert "lora" in read(write(study.directory, tmp_path / "out").output)


def test_missing_or_empty_study_is_an_error_that_says_what_to_do(tmp_path: Path, study: Builder) -> None:
    """It names the studies that are there; a file or an empty directory is told apart."""
    study.sweep([asked("demo.minilm.lora")])
    runs = study.directory.parent
    with pytest.raises(HarnessError, match=r"There is no study at .*suport\. .* Did you mean support\?"):
        write(runs / "suport", tmp_path / "out")
    with pytest.raises(HarnessError, match=r"holds no sweep.yaml and no record of a run.*e\.g\. .*support"):
        write(runs, tmp_path / "out")
    with pytest.raises(HarnessError, match=r"is a file; a study is a directory"):
        write(study.directory / "sweep.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_report_that_cannot_be_written_is_an_error(finished: Path, tmp_path: Path) -> None:
    """The directory is named, and the way out."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"cannot be written to .*file/out .*--output"):
        write(finished, tmp_path / "file" / "out")


def test_command_writes_the_report_without_torch_optuna_or_hydra(finished: Path, tmp_path: Path) -> None:
    """None of the heavy packages is imported, and the table is printed."""
    script = (
        "import sys; from harness.report.__main__ import main; status = main(sys.argv[1:]); "
        "heavy = ('torch', 'optuna', 'hydra', 'transformers', 'sklearn'); "
        "print([name for name in heavy if name in sys.modules]); sys.exit(status)"
    )
    command = [sys.executable, "-c", script, str(finished), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.rstrip().endswith("[]")
    assert "linear_probe" in done.stdout
    assert f"Report: {tmp_path / 'out' / 'index.html'}" in done.stdout


def test_command_explains_itself_and_its_errors(tmp_path: Path) -> None:
    """--help, and an error of one line without a traceback."""
    command = [sys.executable, "-m", "harness.report"]
    assert (
        "--output"
        in subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    )
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no study ")
    assert "Traceback" not in done.stderr


def test_ten_thousand_records_take_seconds(study: Builder, tmp_path: Path) -> None:
    """A large study is read once and aggregated without a pause worth noting, and its page can be sent by mail."""
    make_large(study, cells=20, runs=500)
    begun = time.process_time()  # other work on the machine does not count
    report = write(study.directory, tmp_path / "out")
    assert time.process_time() - begun < 30
    assert [row.trials for row in report.rows] == [500] * 20
    assert report.page.stat().st_size < 10_000_000
