"""A tracker that hangs, raises, dies or is not installed costs a study a warning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import HarnessError
from harness.track import Following
from tests.helpers.small_dataset import ROOT
from tests.track.conftest import CELL

NODE = {"_target_": "tests.track.faulty.Faulty", "name": "faulty"}
TENSORBOARD = {"_target_": "harness.track.tensorboard.TensorBoard", "name": "tensorboard"}


def followed(study: Path, node: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[int]]:
    """Follow a study for a moment: what the user was told, and the trackers' processes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    lines: list[str] = []
    with Following() as trackers:
        trackers.start({str(node["name"]): node}, ["tests"], study, lambda kind, line: lines.append(kind + line))
        pids = [child.process.pid for child in trackers.children]
        time.sleep(0.1)
    return lines, pids


@pytest.mark.parametrize(
    ("how", "words"), [("hangs", "had not ended after 2 s"), ("raises", "nobody there"), ("dies", "died (7)")]
)
def test_what_goes_wrong_with_a_tracker_is_one_warning(
    study: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    """One that hangs is ended when its seconds are up."""
    node = NODE | {"how": how, "wait_seconds": 2.0 if how == "hangs" else 120.0}
    (line,), (pid,) = followed(study, node, monkeypatch)
    assert line.startswith("Warning: ")
    assert words in line
    assert "python -m harness.track" not in line  # which does not know a tracker of the user's own
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_tracker_that_is_not_installed_is_a_warning(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install; the study goes on."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lines: list[str] = []
    with Following() as trackers:
        trackers.start({"tensorboard": TENSORBOARD}, [], study, lambda kind, line: lines.append(kind + line))
        assert trackers.children == []
    assert "pip install 'harness[tensorboard]'" in lines[0]


def test_a_tracker_that_cannot_be_made_is_an_error_before_anything_starts() -> None:
    """A misspelt key, a value outside its choices."""
    with pytest.raises(HarnessError, match="wait_secnds"):
        Following.check({"tensorboard": TENSORBOARD | {"wait_secnds": 3}}, [])
    with pytest.raises(HarnessError, match="online, offline or null"):
        Following.check({"wandb": {"_target_": "harness.track.wandb.WeightsAndBiases", "mode": "maybe"}}, [])
    with pytest.raises(HarnessError, match=r"tracker\.x must be a tracker's configuration .* not 1\."):
        Following.check({"x": cast(Any, 1)}, [])  # what `+tracker.x=1` gives


def test_the_process_outlives_nobody(study: Path) -> None:
    """Of a study that was killed, its tracker tells what there is and ends by itself."""
    order = {"study": str(study), "node": TENSORBOARD, "packages": [], "only": None, "parent": 1}  # not its parent
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.track.worker"], stdin=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()  # and stays open
    assert process.wait(timeout=120) == 0
    assert (study / "tensorboard" / CELL / "trial0000" / "id").is_file()
    process.stdin.close()
