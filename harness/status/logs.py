"""python -m harness.logs <study> <run>: the output of a run, why it failed, and the output of its cluster job."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.command import command
from harness.errors import HarnessError, nearest
from harness.launch.slurm.submissions import Jobs
from harness.records.files import read_jsonl
from harness.records.locate import find
from harness.records.record import CorruptRecord, Record
from harness.records.states import FAILURES, RunStatus
from harness.records.study_files import RunPaths, StudyPaths
from harness.status import discovery

TAIL_LINES = 40  # of each output file of a job
TAIL_BYTES = 2**16
POLL_SECONDS = 0.5
LISTED = 8  # maximum number of candidates shown for an ambiguous name

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")  # colors and other terminal controls


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if the study or run does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.logs", description="Show what a run of a study printed, and why it failed."
    )
    parser.add_argument("study", help="a study's name in the directory of studies, or a path")
    parser.add_argument("run", help="e.g. demo.minilm.lora/trial0003, or any part of it that names one run")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--follow", action="store_true", help="follow until the run has ended; Ctrl-C ends the view")
    parser.add_argument("--slurm", action="store_true", help="also what its Slurm jobs printed themselves")
    options = parser.parse_args(arguments)
    directory = find(options.study, options.runs_dir)
    show(directory, choose(directory, options.run), options.slurm, options.follow)
    return 0


def choose(directory: Path, part: str) -> str:
    """Return the run of a study, `<cell>/<run>`, that a part of its name identifies.

    The full name wins over a match at word boundaries, which wins over any other match: `lora/trial0001` does not mean
    `adalora/trial0001`.

    Raises:
        HarnessError: no run matches, or several do; the message lists the nearest names.
    """
    known = sorted(
        {discovery.run_name(path) for path in StudyPaths(directory).runs.glob("*/*") if path.is_dir()}
        | {run for task in discovery.tasks(directory) for run in task.runs}
    )
    part = part.strip("/")
    words = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(part)}(?![A-Za-z0-9_])")
    meant = (
        [name for name in known if name == part]
        or [name for name in known if words.search(name)]
        or [name for name in known if part.lower() in name.lower()]
    )
    if len(meant) == 1:
        return meant[0]
    if meant:
        more = f" and {len(meant) - LISTED} more" if len(meant) > LISTED else ""
        raise HarnessError(
            f"{part!r} names {len(meant)} runs of {directory.name}: {', '.join(meant[:LISTED])}{more}. Give more of it."
        )
    if not known:
        raise HarnessError(f"The study {directory.name} has no run yet.")
    hint = nearest(part, known)
    if len(known) > LISTED:
        hint = f"{hint.split('Known:')[0]}Known: {', '.join(known[:LISTED])} and {len(known) - LISTED} more."
    raise HarnessError(f"There is no run {part!r} in {directory.name}. {hint}")


def show(directory: Path, name: str, slurm: bool, follow: bool) -> None:
    """Print a run's state, log, worker losses and error, and its jobs' output if requested, failed or without a log."""
    paths = StudyPaths(directory).run(name)
    jobs = [task for task in discovery.tasks(directory) if name in task.runs]
    record = _read(paths)
    _say(f"{name}: {_state(record, jobs)}")
    seen = _print_from(paths.log, 0)
    if follow:
        seen, record = _follow(directory, name, paths, seen, record)
    elif not seen:
        _say("It has no log yet." if record is None or record.status == RunStatus.RUNNING else "It has no log.")
    for failure in read_jsonl(paths.failures):
        _say(f"Lost at {failure.get('at')}: {failure.get('reason')}")
    failed = record is not None and record.status in FAILURES
    if record is not None and record.error and record.error not in _text(paths.log):
        _say(f"{'Note' if record.status == 'running' else 'Error'}: {record.error}")
    if slurm or failed or not seen:
        outputs = [path for task in jobs for path in _outputs(directory, task)]
        for path in outputs:
            _tail(path)
        if slurm and not outputs:
            _say("No output of a Slurm job of this run is there.")


def _state(record: Record | None, jobs: Sequence[discovery.ClusterTask]) -> str:
    live = [task for task in jobs if not task.over]
    where = ""
    if live:
        task = live[-1]
        facts = ", ".join(part for part in (task.state, task.reason, task.node) if part and part != "None")
        where = f" (job {task.id or task.name}{f': {facts}' if facts else ''})"
    if record is None:
        return f"queued{where}" if live else "not started"
    return f"{record.status}{where if record.status == 'running' else ''}"


def _follow(directory: Path, name: str, paths: RunPaths, seen: int, record: Record | None) -> tuple[int, Record | None]:
    """Print new log lines until the run has ended, or no process executes it."""
    quiet = 0
    while record is None or record.status == RunStatus.RUNNING:
        time.sleep(POLL_SECONDS)
        at = _print_from(paths.log, seen)
        record = _read(paths)
        quiet = 0 if at != seen else quiet + 1
        seen = at
        if quiet and quiet % 10 == 0 and not _is_alive(directory, name):
            _say("No process executes it now. It continues when the command that started its study is run again.")
            break
    return _print_from(paths.log, seen), record


def _is_alive(directory: Path, name: str) -> bool:
    if not StudyPaths(directory).sweep.exists():
        return True  # a single run: only its record shows its end
    if discovery.held(directory):
        return True
    return any(name in task.runs and not task.over for task in discovery.tasks(directory))


def _print_from(path: Path, start: int) -> int:
    """Print a file from a byte offset; return the new offset. A file that was truncated is printed from its start."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size < start:
                start = 0
            file.seek(start)
            content = file.read()
    except OSError:
        return start
    # Incomplete lines and characters are printed by the next call.
    whole = content.rfind(b"\n") + 1
    sys.stdout.write(clean(content[:whole].decode("utf-8", errors="replace")))
    sys.stdout.flush()
    return start + whole


def _outputs(directory: Path, task: discovery.ClusterTask) -> list[Path]:
    """Return the output files of a job."""
    if not task.id:
        return []
    logs = Jobs(directory).logs
    return [path for kind in ("out", "err") for path in sorted(logs.glob(f"{task.id}_*_log.{kind}"))]


def _tail(path: Path) -> None:
    """Print the last lines of a file, below its name."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(0, size - TAIL_BYTES))
            lines = clean(file.read().decode("utf-8", errors="replace")).rstrip().split("\n")
    except OSError:
        return
    if lines == [""]:
        return
    part = "" if len(lines) <= TAIL_LINES and size <= TAIL_BYTES else f", its last {min(TAIL_LINES, len(lines))} lines"
    _say(f"\n--- {path}{part}:")
    _say("\n".join(lines[-TAIL_LINES:]))


def clean(text: str) -> str:
    """Return the text as a terminal would finally show it: last state of progress bars, no control characters."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return "\n".join(_CONTROL.sub("", line) for line in lines)


def _read(paths: RunPaths) -> Record | None:
    try:
        return Record.read(paths.record)
    except CorruptRecord as error:
        _say(str(error))
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
