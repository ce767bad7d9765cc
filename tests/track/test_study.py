"""A whole study with trackers beside it: what they hold is read back, and what goes wrong with one stays with it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.track import Tracked, Tracker
from harness.track.__main__ import main as tell
from tests.study.test_survival import Study
from tests.track.conftest import wandb_runs

SECRET = "0123456789abcdef0123456789abcdef01234567"  # made up


class Broken(Tracker):
    """Raises at the first run, or hangs there."""

    def __init__(self, name: str, hangs: bool, wait_seconds: float) -> None:
        self.name, self.hangs, self.wait_seconds = name, hangs, wait_seconds

    def begin(self, run: Tracked) -> None:
        if self.hangs:
            time.sleep(3600)
        raise RuntimeError("the server is on fire")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Study, str]:
    """A study with one cell that trains, followed by both trackers, and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", SECRET)
        study = Study(
            tmp_path_factory.mktemp("tracked") / "study", cache, "method=lora", "train.epochs=2", "tune.trials=2",
            "tracker=[wandb,tensorboard]", "launch.workers=1",
        )  # fmt: skip
        code, printed = study.finish()
    assert code == 0, printed
    return study, printed


def test_wandb_holds_config_curves_and_summary(study: tuple[Study, str]) -> None:
    """A run of W&B for each of ours, grouped by study, typed by phase; the table and the page as artifacts."""
    followed, printed = study
    assert "wandb sync" in printed
    runs = wandb_runs(followed.runs.parent)
    assert sorted(run["type"] for run in runs.values()) == ["confirm", "confirm", "report", "tune", "tune"]
    assert {run["group"] for run in runs.values()} == {"mine"}
    (report,) = [run for run in runs.values() if run["type"] == "report"]
    contents = dict(report["artifacts"])
    assert contents["mine-table"] == ["table.csv"]
    assert {"index.html", "table.md"} < set(contents["mine-report"])
    for run in runs.values():
        if run is report:
            continue
        assert run["config"]["train"]["epochs"] == 2
        assert run["config"]["method"]["name"] == "lora"
        assert "launch" not in run["config"]  # where and how a run executes is not what it computes
        assert [point["epoch"] for point in run["history"]] == [1, 2]
        assert all(0 <= point["val/accuracy"] <= 1 and point["train/loss"] > 0 for point in run["history"])
        assert run["summary"]["status"] == "ok"
        assert ("test/accuracy" in run["summary"]) == (run["type"] == "confirm")


def test_tensorboard_holds_curves_and_hyperparameters(study: tuple[Study, str]) -> None:
    """TensorBoard's own reader finds a curve a run, its results, and what the HParams tab compares."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    followed, printed = study
    assert "tensorboard --logdir" in printed
    folders = sorted(path.parent for path in (followed.runs.parent / "tensorboard").rglob("events.out.*"))
    assert len(folders) == len(followed.records()) == 4
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        assert [point.step for point in events.Scalars("val/accuracy")] == [1, 2]
        assert "result/val/accuracy" in events.Tags()["scalars"]
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hyperparameters = HParamsPluginData.FromString(content).session_start_info.hparams
        assert hyperparameters["train.lr"].number_value > 0
        assert hyperparameters["method"].string_value == "lora"


def test_no_secret_is_written(study: tuple[Study, str]) -> None:
    """A key in the environment reaches no file of the study and no line of its output."""
    followed, printed = study
    assert SECRET not in printed
    for path in followed.directory.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_afterwards_nothing_is_told_twice(study: tuple[Study, str]) -> None:
    """The command that makes up for what was missed finds nothing to do after a study that was followed."""
    followed, _ = study
    before = sorted((followed.runs.parent / "wandb").glob("offline-run-*"))
    command = [sys.executable, "-m", "harness.track", "mine", "wandb", "mode=offline"]
    done = subprocess.run(command, cwd=followed.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted((followed.runs.parent / "wandb").glob("offline-run-*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "wandb"], "There is no study 'absent'"),
        (["mine", "wandb", "projekt=x"], "project"),
        (["mine", "wandb", "mode=onlin"], "online, offline"),
    ],
)
def test_what_cannot_be_done_is_told(
    study: tuple[Study, str],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A study that is not there, and options that do not exist, have a line each."""
    monkeypatch.chdir(study[0].directory)
    assert tell(arguments) == 2
    assert message in capsys.readouterr().err


def test_trackers_that_fail_or_hang_change_nothing(tmp_path: Path, cache: Path) -> None:
    """One raises, one hangs: the study has the same results, exits with 0 and says what it missed."""
    broken = "_target_:tests.track.test_study.Broken"
    plain = Study(tmp_path / "plain", cache, "method=linear_probe", "tune.trials=2", "launch.kind=inline")
    code, printed = plain.finish()
    assert code == 0, printed
    followed = Study(
        tmp_path / "followed", cache, "method=linear_probe", "tune.trials=2", "launch.kind=inline", "packages=[tests]",
        f"+tracker.raises={{{broken},name:raises,hangs:false,wait_seconds:20}}",
        f"+tracker.hangs={{{broken},name:hangs,hangs:true,wait_seconds:2}}",
    )  # fmt: skip
    code, printed = followed.finish()
    assert code == 0, printed
    assert "the server is on fire" in printed
    assert "tracker=hangs had not ended after 2 s" in printed
    results = [[(r["cell"], r["seed"], r["metrics"]) for r in each.records()] for each in (plain, followed)]
    assert results[0] == results[1]


def test_a_tracker_that_does_not_exist_is_told(main: Callable[..., tuple[int, str]]) -> None:
    """Before anything starts."""
    code, printed = main("-m", "method=zero_shot", "tracker=[wandb,tensorbord]")
    assert code != 0
    assert "tracker=tensorbord: there is no such tracker" in printed
    assert "Traceback" not in printed
