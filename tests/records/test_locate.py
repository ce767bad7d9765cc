"""Every command takes a study by its name or by its path, and says what there is where it finds none."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.locate import find, find_model, is_study, names
from harness.report.__main__ import main as report
from harness.serving import predict
from harness.status import __main__ as status
from harness.status import logs, stop
from harness.track.__main__ import main as track
from tests.helpers import study_directories
from tests.helpers.small_dataset import ROOT

CELL = "demo.minilm.lora"
RUNS = Path("runs")
Command = Callable[[list[str]], int]
COMMANDS: dict[str, Command] = {
    "report": lambda words: report([*words, "--output", "out"]),
    "status": status.main,
    "logs": lambda words: logs.main([words[0], "trial0000", *words[1:]]),
    "stop": stop.main,
    "track": lambda words: track([words[0], "tensorboard", *words[1:]]),
}


def study(directory: Path) -> Path:
    """Write a study with one run."""
    study_directories.sweep(directory, {CELL: {}})
    study_directories.run(directory, CELL, "trial0000", val=0.5, log="epoch 1\n")
    return directory


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_takes_names_and_paths_alike(
    place: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name, also where a file or a directory is called so; a path; a directory of studies elsewhere."""
    study(place / "runs" / "A")
    study(place / "elsewhere" / "team" / "B")
    (place / "A").write_text("a file of the same name", encoding="utf-8")
    run = COMMANDS[command]
    for words in (
        ["A"], ["A/"], ["runs/A"], ["./runs/A"], [str(place / "runs" / "A")],
        ["team/B", "--runs-dir", "elsewhere"], ["B", "--runs-dir", "elsewhere/team"], ["elsewhere/team/B"],
    ):  # fmt: skip
        assert run(words) == 0, (words, capsys.readouterr().err)
    capsys.readouterr()
    for words, told in (
        (["a"], "There is no study 'a'. Studies in runs: Known: A."),
        (["runs/AA"], "Studies in runs: "),
        (["none/x"], "Known: A."),
        (["B", "--runs-dir", "nowhere"], "nowhere holds no study."),
        (["runs"], "There is no study 'runs'. Studies in runs: Known: A."),
        (["."], "There is no study '.'. Studies in runs: Known: A."),
        (["./A"], "(A is a file). Studies in runs: Did you mean A? Known: A."),
        (["runs/A/runs/" + CELL], "lies inside of a study. Give that: runs/A"),
        ([""], "There is no study ''"),
    ):
        assert run(words) == 2, words
        error = capsys.readouterr().err
        assert error.startswith("Error: ") and told in error and error.count("\n") == 1, (words, error)


def test_a_name_gives_the_report_that_its_path_gives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In reports/<study>, also against an earlier study and from a definition that names it."""
    study(place / "runs" / "A")
    study(place / "runs" / "old")
    assert report(["A", "--anchor", "old"]) == 0
    assert "Report: reports/A/index.html" in capsys.readouterr().out
    (place / "both.yaml").write_text("title: Both\nstudies: [A, runs/old]\n", encoding="utf-8")
    assert report(["--definition", "both.yaml"]) == 0
    assert (place / "reports" / "both" / "index.html").is_file()
    with pytest.raises(SystemExit, match="2"):
        report([])
    assert "studies in runs: A, old" in capsys.readouterr().err
    assert report(["A", "--anchor", "odl"]) == 2
    assert report(["A", "--anchor", "runs/A"]) == 2
    assert "Did you mean old?" in capsys.readouterr().err


def test_an_archive_is_reported_and_nothing_else(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another command says of one is a command that works."""
    study(place / "runs" / "A")
    assert report(["A", "--freeze", "my study.zip"]) == 0
    for name in ("status", "logs", "stop", "track"):
        assert COMMANDS[name](["my study.zip"]) == 2
        error = capsys.readouterr().err
        words = shlex.split(error.partition("`")[2].partition("`")[0])
        assert words[:3] == ["python", "-m", "harness.report"]
        assert report(words[3:]) == 0
    capsys.readouterr()
    assert (place / "reports" / "my study" / "index.html").is_file()
    assert report(["your study.zip"]) == 2


def test_a_project_is_no_study_and_single_runs_are_one(place: Path) -> None:
    """`runs` in it makes both; of a project, it holds studies."""
    study_directories.run(place / "runs" / "single", CELL, "run1", val=0.5)
    assert is_study(place / "runs" / "single")
    assert not is_study(place)
    study(place / "runs" / "A")
    assert not is_study(place)
    assert names(RUNS) == ["A", "single"]
    assert not is_study(ROOT)
    for index in range(20):
        study(place / "many" / f"study{index:02}")
    with pytest.raises(HarnessError, match=r"Did you mean study07.*Known: .* and 12 more\.") as told:
        find("study07x", Path("many"))
    assert len(str(told.value)) < 400


def test_a_saved_model_is_found_by_its_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the paths of its directory and its run's, and by names; a study holds several."""
    directory = study(place / "runs" / "A") / "runs" / CELL / "trial0000"
    model = directory / "model"
    model.mkdir()
    (model / "harness.json").write_text("{}", encoding="utf-8")
    for text in (
        str(model),
        str(directory),
        f"A/{CELL}/trial0000",
        f"A/runs/{CELL}/trial0000",
        f"runs/A/runs/{CELL}/trial0000",
    ):
        assert find_model(text, RUNS).resolve() == model, text
    assert find_model("absent", RUNS) == Path("absent")
    with pytest.raises(HarnessError, match=f"A is a study, .* models: runs/A/runs/{CELL}/trial0000/model"):
        find_model("A", RUNS)
    with pytest.raises(HarnessError, match=f"no saved model A/{CELL}/trial1. Did you mean A/{CELL}/trial0000"):
        find_model(f"A/{CELL}/trial1", RUNS)
    assert predict.main(["A", "texts.csv"]) == 2
    assert "A is a study" in capsys.readouterr().err
