"""Bad input gets a clear error before any compute, and nothing half-written stays behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Main = Callable[..., tuple[int, str]]

ROWS = "".join(f"message {i} about {topic},{topic}\n" for i in range(12) for topic in ("cards", "cash"))


def write_csv(directory: Path, rows: str = ROWS, name: str = "mine.csv") -> Path:
    path = directory / name
    path.write_text(f"text,label\n{rows}", encoding="utf-8")
    return path


CSV = ("task=csv", "task.path=mine.csv")

CASES = [
    # names
    (("method=lorra",), r"method=lorra: there is no such method\. Did you mean lora"),
    (("model=minilmm",), r"model=minilmm: there is no such model\. Did you mean minilm\?"),
    (("task=bankin77",), r"task=bankin77: there is no such task\. Did you mean banking77\?"),
    (("task.metric=acuracy",), r"metric.*acuracy.*accuracy"),
    (("train.lrr=1",), r"train\.lrr: the configuration has no such key\. Did you mean train\.lr"),
    (("sweeps=defualt",), r"sweeps=defualt: there is no such sweeps\. Did you mean default\?"),
    (("slurm=null",), r"slurm=null: this key takes a name: .*gpu.*Leave slurm= out"),
    (
        ("tracker=null",),
        r"tracker=null: this key takes a name: .*wandb\. For none of them: tracker=none",
    ),
    # types and ranges
    (("train.lr=fast",), r"train\.lr=fast: this key takes a float, not 'fast'"),
    (("train.lr=-1",), r"train\.lr must be above 0, not -1"),
    (("train.lr=0",), r"train\.lr must be above 0, not 0"),
    (("train.batch_size=0",), r"train\.batch_size must be above 0, not 0"),
    (("train.epochs=-2",), r"train\.epochs must be above 0, not -2"),
    (("tune.trials=0",), r"tune\.trials must be above 0, not 0"),
    (("tune.trials=null",), r"A budget is needed: set tune\.trials or tune\.seconds"),
    (("confirm.seeds=0",), r"confirm\.seeds must be 1 or more, not 0"),
    (("task.shots=0",), r"shots.*0"),
    (("task.shots=-3",), r"shots.*-3"),
    (("train.schedule=cosin",), r"train\.schedule must be one of linear, cosine, constant, not cosin"),
    (("tune.pruner=median", "launch.kind=inline"), r"set launch\.kind=local \(with launch\.workers=1"),
    (("tune.sampler=tep",), r"tune\.sampler must be one of tpe, gp, random, qmc, grid, nsga2, not tep"),
    (("launch.workers=0",), r"launch\.workers must be above 0"),
    (("seed=-1",), r"seed must lie in"),
    (("study=../elsewhere",), r"study=\.\./elsewhere: a study's name is made of letters"),
    # devices, models, directories
    (("device=cuda",), r"cuda"),
    (("model.path=nowhere",), r"nowhere"),
    (("model=own",), r"model=own names no source: set model\.hub=<owner/name>"),
    (("model.hub=null", "model.bundled=null", "model.digests=null"), r"model=minilm names no source"),
    (("runs_dir=mine.csv/runs",), r"runs_dir=mine\.csv/runs cannot be written to .*Choose another"),
    (("reports_dir=mine.csv/reports",), r"reports_dir=mine\.csv/reports cannot be written to"),
]


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "study"])
@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_a_mistake_is_told_in_plain_words(
    main: Main, tmp_path: Path, mode: tuple[str, ...], arguments: tuple[str, ...], message: str
) -> None:
    """The rule, the value and the way out; exit code 2; no traceback; no run or study is begun."""
    if any("device=cuda" in argument for argument in arguments):
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("needs a machine without CUDA")
    write_csv(tmp_path)
    code, printed = main(*mode, *arguments)
    assert code == 2, printed
    assert re.search(message, printed), printed
    assert "Traceback" not in printed
    assert "Error executing job" not in printed
    assert_nothing_begun(tmp_path)


STUDY_CASES = [
    (("train.lr=interval(1e-2,1e-3)",), r"an interval needs low < high, not 0\.01 >= 0\.001"),
    (("method=lora", "tune.sampler=grid"), r"tune\.sampler=grid needs a finite space"),
    (("method=lora,lorra", "task=demo,dmeo"), r"(?s)lorra: there is no such method.*dmeo: there is no such task"),
    (("method=lora,lora",), r"named twice"),
    (("model=own,minilm", "model.path=/x"), r"model\.path=/x would give its files to each of own, minilm"),
    (("task.max_length=interval(1,9)",), r"takes a list of choices, not an interval"),
    (("seed=interval(1,9)",), r"list the values"),
    (("tracker=wandb,tensorboard",), r"no cells of trackers.*tracker=\[wandb,tensorboard\]"),
    (("train.lr=choice(1e-3",), r"train\.lr=choice\(1e-3"),
    (("method=zero_shot", "train.lr=tag(log,interval(1e-4,1e-2))"), r"no cell of this study has the key train\.lr"),
    (
        ("method=zero_shot", "task.validation=kfold", "task.folds=3", "tune.objectives=[saved_bytes]"),
        r"saved_bytes cannot be measured in tuning with task\.validation=kfold",
    ),
    (("tune.storage=postgresql://user:secret@nowhere.invalid/x", "method=zero_shot"), r"tune\.storage=postgresql"),
]


@pytest.mark.parametrize(("arguments", "message"), STUDY_CASES, ids=[" ".join(case[0]) for case in STUDY_CASES])
def test_a_mistake_in_a_sweep_is_told_in_plain_words(
    main: Main, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """All problems at once; a password in a URL is not repeated."""
    code, printed = main("-m", *arguments)
    assert code == 2, printed
    assert re.search(message, printed), printed
    assert "Traceback" not in printed
    assert "secret" not in printed
    assert not list(tmp_path.rglob("record.json"))


def test_all_problems_are_told_at_once(main: Main) -> None:
    """A user mends them in one go."""
    code, printed = main("train.lr=-1", "train.batch_size=0", "task.shots=0")
    assert code == 2
    assert printed.count("Error:") == 3


DATA_CASES = [
    ("", r"(?i)empty|no rows"),
    ("only one class,cards\nstill one,cards\n", r"needs at least two classes"),
    (ROWS + ",cards\n", r"1 of 25 rows have no text"),
    (ROWS + "no label,\n", r"1 of 25 rows have no label"),
]


@pytest.mark.parametrize(("rows", "message"), DATA_CASES)
def test_bad_rows_are_told_before_anything_starts(main: Main, tmp_path: Path, rows: str, message: str) -> None:
    """More of these stand in tests/tasks."""
    write_csv(tmp_path, rows)
    code, printed = main("-m", *CSV)
    assert code == 2, printed
    assert re.search(message, printed), printed
    assert_nothing_begun(tmp_path)


def test_a_missing_file_names_what_is_there(main: Main, tmp_path: Path) -> None:
    """A typing mistake in a path is the most common mistake of all."""
    write_csv(tmp_path)
    code, printed = main("task=csv", "task.path=mien.csv")
    assert code == 2
    assert "mien.csv" in printed
    assert "mine.csv" in printed


def test_my_own_file_has_to_be_named(main: Main) -> None:
    """task=csv alone cannot know it."""
    code, printed = main("task=csv")
    assert code == 2
    assert "task.path" in printed


def test_a_study_of_another_question_is_refused_and_told_apart(main: Main, tmp_path: Path) -> None:
    """Another data set or search space under the same name; more trials are welcome."""
    ask = ("-m", *CSV, "method=nearest_mean", "study=mine", "launch.kind=inline", "confirm.seeds=1")
    write_csv(tmp_path)
    assert main(*ask)[0] == 0
    before = (tmp_path / "runs/mine/sweep.yaml").read_bytes()
    write_csv(tmp_path, ROWS + "one more message about cards,cards\n")
    code, printed = main(*ask)
    assert code == 2
    assert re.search(r"study mine was started with another configuration.*\n.*the data set", printed)
    write_csv(tmp_path)
    code, printed = main(*ask, "task.metric=macro_f1")
    assert code == 2
    assert "metric was accuracy, is macro_f1" in printed
    assert (tmp_path / "runs/mine/sweep.yaml").read_bytes() == before
    assert main(*ask, "tune.trials=20")[0] == 0


def test_a_second_coordinator_is_refused(main: Main, tmp_path: Path) -> None:
    """It names the first one."""
    write_csv(tmp_path)
    study = tmp_path / "runs/mine"
    study.mkdir(parents=True)
    code = f"""
import time
from pathlib import Path
from harness.search.storage import lock
with lock(Path({str(study)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        exit_code, printed = main("-m", *CSV, "method=nearest_mean", "study=mine")
    finally:
        holder.kill()
        holder.wait()
    assert exit_code == 2
    assert f"coordinated by process {holder.pid}" in printed


def test_a_truncated_record_and_a_torn_journal_are_mended(main: Main, tmp_path: Path) -> None:
    """As a full disk leaves them: the run is executed again, the journal is cut, both are told."""
    write_csv(tmp_path)
    ask = ("-m", *CSV, "method=nearest_mean", "study=mine", "launch.kind=inline", "confirm.seeds=2")
    assert main(*ask)[0] == 0
    records = sorted((tmp_path / "runs/mine/runs").rglob("record.json"))
    assert len(records) == 3
    whole = json.loads(records[0].read_text())
    kept = records[1].stat().st_mtime_ns
    records[0].write_text(records[0].read_text()[:100])
    with (tmp_path / "runs/mine/study.journal").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    code, printed = main(*ask)
    assert code == 0, printed
    assert "is not a complete record" in printed
    assert "cut to its last complete line" in printed
    again = json.loads(records[0].read_text())
    assert again["status"] == "ok"
    assert (again["signature"], again["metrics"]) == (whole["signature"], whole["metrics"])
    assert records[1].stat().st_mtime_ns == kept


def assert_nothing_begun(directory: Path) -> None:
    left = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert left <= {"mine.csv"}, left


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_help_answers_fast_and_loads_no_torch(cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """It lists the choices and the commands."""
    shown = cli("--help")
    assert shown.returncode == 0, shown.stderr
    for word in ("banking77", "linear_probe", "minilm", "harness report", "harness predict", "plan=true"):
        assert word in shown.stdout
    heavy = ("torch", "transformers", "optuna", "pandas")
    code = f"import sys, harness.cli.main; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
