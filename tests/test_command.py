"""Commands: one entry, the same ends."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import yaml

from harness import __main__ as entry
from harness.command import command
from harness.errors import HarnessError
from tests.helpers.small_dataset import ROOT

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def harness(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The console script within this process: (exit code, everything it printed)."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        try:
            code: object = entry.main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capfd.readouterr()
        return int(str(code or 0)), captured.out + captured.err

    return run


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return command(main)


def test_what_the_output_cannot_encode_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As names of studies under PYTHONIOENCODING=ascii."""
    content = BytesIO()
    with TextIOWrapper(content, encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        def main() -> int:
            sys.stdout.write("study é\n")
            return 0

        assert command(main)() == 0
        monkeypatch.undo()
        assert content.getvalue() == b"study ?\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (HarnessError("one", "two"), 2, "Error: one\nError: two\n"),
        (KeyboardInterrupt(), 130, ""),
        (OSError(errno.ENOSPC, "full", "a/b"), 2, "Error: The disk is full (a/b)."),
        (OSError(errno.EISDIR, "Is a directory", "a/b"), 2, "Error: a/b cannot be used (Is a directory)"),
        (OSError(errno.EACCES, "Permission denied", "a", None, "b"), 2, "Error: b cannot be used (Permission denied)"),
    ],
)
def test_what_a_user_can_mend_is_a_message(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no traceback."""
    assert raising(error)() == code
    assert capsys.readouterr().err.startswith(says)


def test_an_interrupt_of_code_made_from_text_keeps_the_exit_code(tmp_path: Path) -> None:
    """Python would end by the signal, although the interrupt was answered: it may hit an import that makes a class."""
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "from harness.command import command\n"
        "sys.exit(command(lambda: exec('raise KeyboardInterrupt'))())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    assert subprocess.run([sys.executable, "-m", "interrupted"], check=False, env=environment).returncode == 130


def test_what_nobody_foresaw_is_raised() -> None:
    """A traceback is what a bug report needs."""
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()
    with pytest.raises(OSError, match="not full"):
        raising(OSError(errno.EIO, "not full"))()


@pytest.mark.parametrize("name", entry.SUBCOMMANDS)
def test_each_subcommand_explains_itself_and_is_listed(harness: Run, name: str) -> None:
    """`harness <name>` and `python -m harness.<name>` are one function; `harness --help` names it."""
    code, printed = harness(name, "--help")
    assert code == 0 and (f"harness.{name}" in printed or f"harness {name}" in printed)
    assert callable(importlib.import_module(entry.SUBCOMMANDS[name]).main)
    template = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))["hydra"]["help"]["template"]
    assert f"harness {name} " in template


@pytest.mark.parametrize("arguments", [("report", "runs/none"), ("status", "none"), ("stop", "none"),
                                       ("logs", "none", "run"), ("predict", "none", "a.csv"),
                                       ("track", "none", "wandb"), ("methods", "none")])  # fmt: skip
def test_what_is_not_there_ends_every_subcommand_alike(harness: Run, arguments: tuple[str, ...]) -> None:
    """With exit code 2, a message and nothing written."""
    code, printed = harness(*arguments)
    assert code == 2
    assert "Error: " in printed and "Traceback" not in printed
    assert not list(Path().iterdir())


def test_a_command_that_is_not_there_names_those_that_are(harness: Run) -> None:
    """A word that is no override."""
    code, printed = harness("repport", "runs/a")
    assert code == 2
    assert printed.startswith("Error: harness repport: there is no such command. Did you mean report ")


@pytest.mark.parametrize("arguments", [("run", "plan=true"), ("plan=true",), ("run", "method=nonsense")])
def test_without_a_subcommand_it_is_the_main_command(harness: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """`harness run` says so by name."""
    code, printed = harness(*arguments, "task.train_per_class=2", f"cache_dir={tmp_path / 'cache'}", "device=cpu")
    if "method=nonsense" in arguments:
        assert code == 2 and "nonsense" in printed
    else:
        assert code == 0 and "Plan: one run of demo.minilm.lora" in printed, printed
