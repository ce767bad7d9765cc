"""What all tests share: the command line, the data, and a rule about skips."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test waits for a hub

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: what tests start would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

CI_MAY_SKIP = ("needs CUDA",)  # reasons that hold on a machine without a GPU


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file and give its path."""

    def _write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


@pytest.fixture
def data() -> Path:
    """The directory of the openly licensed data sets."""
    if "HARNESS_DATA" not in os.environ:
        pytest.skip("HARNESS_DATA is not set: it names a directory with banking77/, sms_spam/, ...")
    return Path(os.environ["HARNESS_DATA"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh directory that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of tokenised data and frozen features, shared by the whole session as on a user's machine."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def start_seconds() -> float:
    """What the start of one worker takes on this machine today: tests scale their time limits by it."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import harness.launch.local.preload"], check=True)
    return time.monotonic() - began


@pytest.fixture(scope="session", autouse=True)
def _removes_the_short_model() -> Iterator[None]:
    """What `shorten` wrote goes with the session: processes of pytest-xdist may end without their `atexit`."""
    yield
    small = sys.modules.get("tests.helpers.small_dataset")
    if small is not None and small.shorten.cache_info().currsize:
        shutil.rmtree(small.shorten(), ignore_errors=True)


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path, cache: Path) -> Cli:
    """`python -m harness` in a process of its own, as a user runs it, in an empty directory."""

    def run(*arguments: str, timeout: float = 600, module: str = "harness") -> subprocess.CompletedProcess[str]:
        extra = (f"cache_dir={cache}",) if module == "harness" and "--help" not in arguments else ()
        return subprocess.run(
            [sys.executable, "-m", module, *arguments, *extra],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def main(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command line within this process, for what fails before compute: (exit code, everything it printed)."""
    from harness.cli import main as app

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["harness", *arguments, f"cache_dir={cache}"])
        code: object = 0
        try:
            app.main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capfd.readouterr()
        return int(str(code or 0)), captured.out + captured.err

    return run


# What takes longest: begun last, one of these would keep one process busy while the others have nothing left.
LONGEST = (
    "tests/study/test_survival.py", "tests/methods/test_conformance.py", "tests/training/fused/test_minilm.py",
    "tests/study/test_asha_study.py", "tests/training/test_loop.py", "tests/report/page/test_browser.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of Slurm come first: they mostly wait, and another process of pytest-xdist takes the rest meanwhile."""

    def place(item: pytest.Item) -> int:
        if item.get_closest_marker("slurm") is not None:
            return -1
        file = item.nodeid.partition("::")[0]
        return LONGEST.index(file) if file in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes (`-n 3`) one takes all tests of Slurm, which mostly wait; any takes those of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it publishes no types
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if nodeid.startswith("tests/slurm/") else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what a run in CI skipped although it should not have."""
    for line in _forbidden(terminalreporter):
        terminalreporter.write_line(f"must not be skipped in CI: {line}", red=True)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """In CI a skip that hides a test fails the run."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _forbidden(reporter) and session.exitstatus == 0:
        session.exitstatus = 1


def _forbidden(reporter: pytest.TerminalReporter) -> list[str]:
    if os.environ.get("CI") != "true":
        return []
    reasons = [f"{report.nodeid}: {report.longrepr[2]}" for report in reporter.stats.get("skipped", [])]
    return [reason for reason in reasons if not any(allowed in reason for allowed in CI_MAY_SKIP)]
