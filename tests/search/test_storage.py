"""The lock that names its holder and the journal that survives a torn line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from harness.errors import HarnessError
from harness.search.storage import lock, mend, open_storage


def holder(directory: Path) -> subprocess.Popen[str]:
    code = f"""
import time
from pathlib import Path
from harness.search.storage import lock
with lock(Path({str(directory)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_coordinator_is_refused_and_told_who_holds_the_study(tmp_path: Path) -> None:
    """Process id and host, and what to do."""
    process = holder(tmp_path)
    try:
        refused = pytest.raises(HarnessError, match=rf"coordinated by process {process.pid} on .* since .*study=<name>")
        with refused, lock(tmp_path):
            pytest.fail("held twice")
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_a_killed_holder_is_free_at_once(tmp_path: Path) -> None:
    """Nothing has to be cleaned up by hand."""
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "worker', b'{"op_code": 4, "worker\n', b"\x00\x00\x00\n"])
def test_a_torn_last_line_is_cut_backed_up_and_told(tmp_path: Path, torn: bytes) -> None:
    """Without that the next entry would be swallowed."""
    storage = open_storage(None, tmp_path, pytest.fail)
    optuna.create_study(storage=storage, study_name="a").ask()
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    warnings: list[str] = []
    study = optuna.load_study(storage=open_storage(None, tmp_path, warnings.append), study_name="a")
    assert journal.read_bytes() == whole
    assert "cut to its last complete line" in warnings[0]
    (backup,) = tmp_path.glob("study.journal.torn-*")
    assert backup.read_bytes() == whole + torn
    study.ask()
    assert len(optuna.load_study(storage=open_storage(None, tmp_path, pytest.fail), study_name="a").trials) == 2


def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A line cut within the file, and a folder in its place; nothing is changed."""
    journal = tmp_path / "study.journal"
    optuna.create_study(storage=open_storage(None, tmp_path, pytest.fail), study_name="a")
    content = b'{"op_code": 4, "wor\n' + journal.read_bytes()
    journal.write_bytes(content)
    with pytest.raises(HarnessError, match=r"study\.journal cannot be read .* move it away"):
        open_storage(None, tmp_path, pytest.fail)
    assert journal.read_bytes() == content
    journal.unlink()
    journal.mkdir()
    with pytest.raises(HarnessError, match="Is a directory"):
        open_storage(None, tmp_path, pytest.fail)


def test_a_whole_journal_is_left_alone(tmp_path: Path) -> None:
    """Also an empty or missing one."""
    mend(tmp_path / "missing", pytest.fail)
    (tmp_path / "empty").touch()
    mend(tmp_path / "empty", pytest.fail)
    assert not list(tmp_path.glob("*.torn-*"))


def test_a_storage_that_cannot_be_opened_is_an_error_without_the_password(tmp_path: Path) -> None:
    """The URL may hold one."""
    with pytest.raises(HarnessError, match="cannot be opened") as caught:
        open_storage("postgresql://user:secret@nowhere.invalid/db", tmp_path, pytest.fail)
    assert "secret" not in str(caught.value)


def test_a_database_url_is_accepted(tmp_path: Path) -> None:
    """Any storage that Optuna knows."""
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}", tmp_path, pytest.fail)
    optuna.create_study(storage=storage, study_name="a").ask()
