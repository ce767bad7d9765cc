"""W&B is asked what the user has said of it, and is given only names that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from harness.errors import HarnessError
from harness.track import Tracked
from harness.track.processes import Following
from harness.track.wandb import WeightsAndBiases
from tests.track.conftest import wandb_runs


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No account and no setting, and none of an earlier test."""
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.parametrize("mode", ["offline", "dryrun"])
def test_offline_in_the_environment_is_kept_to_with_an_account(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Its old name, too."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", mode)
    tracker = WeightsAndBiases()
    tracker.open(Path("study"))
    assert tracker.offline
    assert tracker.why == "offline mode was requested"


def test_what_wandb_offline_has_written_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command leaves a settings file; a mode that is named for the tracker goes before it."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for mode, offline in ((None, False), ("offline", True)):
        tracker = WeightsAndBiases(mode=mode)
        tracker.open(Path("study"))
        assert tracker.offline == offline
    wandb.teardown()
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nmode = offline\n", encoding="utf-8")
    for mode, offline in ((None, True), ("online", False)):
        tracker = WeightsAndBiases(mode=mode)
        tracker.open(Path("study"))
        assert tracker.offline == offline


def test_switched_off_it_says_so_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error counts nothing as told, so that it can be sent later."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(HarnessError, match="switched off"):
        WeightsAndBiases().open(Path("study"))


def test_without_an_account_it_is_offline() -> None:
    """Where nothing is set."""
    tracker = WeightsAndBiases()
    tracker.open(Path("study"))
    assert tracker.offline
    assert tracker.why == "no account is logged in"


def test_names_that_wandb_does_not_take_are_made_so(tmp_path: Path) -> None:
    """A study's name may hold `+`, umlauts and 200 characters, a part's name more than a tag."""
    study, report = tmp_path / ("prüfung+1" + "x" * 200), tmp_path / "report"
    for folder in (study, report):
        folder.mkdir()
    (report / "table.csv").write_text("task,test\ndemo,0.5\n", encoding="utf-8")
    tracker = WeightsAndBiases(mode="offline")
    tracker.open(study)
    record = dict.fromkeys(("cell", "trial", "signature", "error"), None) | {
        "phase": "tune", "variant": {}, "hyperparameters": {}, "task": "demo", "model": "m" * 65, "method": "lora",
        "status": "ok",
    }  # fmt: skip
    run = Tracked("0123456789abcdef", "cell/run", record, {})
    tracker.begin(run)
    tracker.end(run, {})
    tracker.report(report, "fedcba9876543210")
    tracker.close()
    (told,) = [each for each in wandb_runs(study).values() if each["type"] == "report"]
    names = [name for name, _ in told["artifacts"]]
    begin = "pr-fung-1" + "x" * 102 + "-"  # and a hash, so that another long name stays another one
    ends = {name[len(begin) + 8 :] for name in names if name.startswith(begin) and len(name) <= 128}
    assert {"-table", "-report"} <= ends


WRONG = {
    "WANDB_SILENT": ("maybe", "true or false"),
    "WANDB_CONSOLE": ("loud", "'auto', 'off', 'wrap'"),
    "WANDB_INIT_TIMEOUT": ("soon", "a number"),
    "WANDB_DISABLE_CODE": ("perhaps", "true or false"),
    "WANDB__DISABLE_STATS": ("2", "true or false"),
    "WANDB_REINIT": ("x", "'default'"),
}


def test_every_variable_that_wandb_reads_is_checked_before_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, by W&B's own rules; blank ones, and those that are removed before W&B reads them, do not count."""
    for name in ("WANDB_QUIET", "WANDB_STRICT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("WANDB_RESUME", "perhaps")
    monkeypatch.setenv("WANDB_START_METHOD", "thread")
    node = {"kind": "wandb", "mode": "offline"}
    Following.check({"wandb": node}, ())
    for name, (value, _) in WRONG.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HarnessError) as raised:
        Following.check({"wandb": node}, ())
    told = {line.partition("=")[0]: line for line in raised.value.problems}
    assert told.keys() == WRONG.keys()
    assert all(f"={value}: W&B takes {wants}" in told[name] for name, (value, wants) in WRONG.items())


def test_settings_files_of_wandb_are_checked_before_a_study() -> None:
    """That of the current directory, as `wandb offline` writes it."""
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nmode = maybe\n", encoding="utf-8")
    with pytest.raises(HarnessError, match="wandb/settings sets mode=maybe: W&B takes 'online', 'offline'"):
        Following.check({"wandb": {"kind": "wandb"}}, ())


def test_variables_that_would_end_or_misplace_a_tracker_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no UTF-8 end W&B; a file as its directory makes it write to a temporary one."""
    monkeypatch.setenv("WANDB_NOTES", "caf\udce9")
    monkeypatch.setenv("WANDB_API_KEY", "secr\udce9t")
    monkeypatch.setenv("WANDB_DIR", f"{__file__}/x")
    with pytest.raises(HarnessError) as raised:
        WeightsAndBiases(mode="offline")
    begins = ("WANDB_API_KEY is not UTF-8", "WANDB_NOTES is not UTF-8", "WANDB_DIR=")
    assert len(raised.value.problems) == 3 and "secr" not in str(raised.value)
    assert all(told.startswith(begin) for told, begin in zip(raised.value.problems, begins, strict=True))


def test_blank_variables_are_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B itself refuses an empty boolean."""
    monkeypatch.setenv("WANDB_SILENT", "")
    monkeypatch.setenv("WANDB_SYMLINK", " ")
    WeightsAndBiases(mode="offline").open(Path("study"))


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"kind": "tensorboard", "wait_seconds": "soon"}, "tracker.t.wait_seconds=soon: this key takes a number"),
        ({"kind": "wandb", "project": ["a"]}, "tracker.t.project="),
    ],
)
def test_values_of_a_tracker_are_checked_by_type(node: dict[str, object], says: str) -> None:
    """Before a study, as those of tasks, models and methods."""
    with pytest.raises(HarnessError) as raised:
        Following.check({"t": node}, ())
    assert says in str(raised.value)
