"""Habits around the command line: closed pipes, narrow terminals, files named like modules, variables of Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from harness.formatting.console import new_console
from harness.system.machine import restarts
from harness.system.shadowed_modules import hidden


def shell(directory: Path, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {line}"], cwd=directory, env={**os.environ, **env}, text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("module", ["harness --help", "harness.methods", "harness.status"])
def test_a_closed_pipe_ends_quietly(tmp_path: Path, module: str) -> None:
    """As with `| head -1`; what was printed in one go fails only when it is flushed."""
    done = shell(tmp_path, f"{sys.executable} -m {module} | true")
    assert done.stderr == ""
    assert done.returncode in (0, 1)  # rich ends with 1 where it prints


@pytest.mark.parametrize("name", ["torch.py", "random.py", "yaml.py", "pandas"])
def test_a_file_that_hides_a_module_is_named(tmp_path: Path, name: str) -> None:
    """Before anything imports it; a directory is one if it is a package."""
    if name.endswith(".py"):
        (tmp_path / name).write_text("raise RuntimeError('mine')")
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    done = shell(tmp_path, f"{sys.executable} -m harness -m plan=true")
    assert done.returncode == 2
    assert f"{tmp_path.resolve() / name} hides the module {name.removesuffix('.py')}" in done.stderr


def test_files_that_hide_nothing_are_left_alone(tmp_path: Path) -> None:
    """A user's own modules, a package's name without a package, and what nobody imports."""
    for name in ("train.py", "my_models.py", "test.py", "torch.txt"):
        (tmp_path / name).touch()
    (tmp_path / "wandb").mkdir()
    assert hidden(str(tmp_path)) == []


@pytest.mark.parametrize("said", ["", "x", "-1", "2"])
def test_slurms_count_of_restarts_may_be_empty(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """What is no number counts as none."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", said)
    assert restarts() == (2 if said == "2" else 0)


@pytest.mark.parametrize("kind", ["cache_dir", "runs_dir", "reports_dir"])
def test_a_file_in_place_of_a_directory_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """Before a model is looked for there."""
    from harness.cli import main

    (tmp_path / "mine.csv").write_text("text,label\na,b\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "method=nearest_mean", "plan=true", f"{kind}=mine.csv"])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 2
    assert f"Error: {kind}=mine.csv cannot be written to" in capfd.readouterr().err


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("1", 80), ("-5", 80), ("40", 40), ("120", 120), (None, 80)])
def test_a_terminal_that_names_no_width_has_80_columns(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    """Programs without a terminal set COLUMNS=0."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert new_console(file=StringIO()).width == width
