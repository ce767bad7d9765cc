"""python -m harness.stop <study>: stop a study without loss, from any machine that sees its directory."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.command import command
from harness.errors import HarnessError
from harness.formatting.values import plural
from harness.launch.slurm.job_states import ENDED
from harness.records.files import atomic, now
from harness.records.locate import find
from harness.records.run_spec import study_argument
from harness.records.states import RESULTS, StudyState, Unfinished
from harness.records.study_files import RunPaths, StudyPaths
from harness.status import discovery

POLL_SECONDS = 0.25


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 if the study is still stopping, or 2 if it does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.stop",
        description="Stop a study: runs under way write checkpoints, waiting jobs are cancelled. Nothing is lost.",
    )
    parser.add_argument("study", help="a study's name in the directory of studies, or a path")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument(
        "--wait", type=float, default=120, metavar="SECONDS", help="how long to wait for it (default: 120)"
    )
    options = parser.parse_args(arguments)
    try:
        directory = find(options.study, options.runs_dir)
        return stop(directory, options.wait)
    except KeyboardInterrupt:
        _say("Not waiting any longer; the study still stops.")
        return 1


def stop(directory: Path, wait: float) -> int:
    """Stop a study; return the exit code.

    Args:
        directory: the study's directory.
        wait: maximum number of seconds to wait for its coordinator to exit.
    """
    if not discovery.held(directory):
        return _stop_jobs(directory)
    path = StudyPaths(directory).stop
    try:
        with atomic(path) as temporary:
            temporary.write_text(f"{now()}\n", encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be written ({error.strerror or error}), and this file requests the stop. "
            "Correct this, or send SIGINT to its coordinator."
        ) from error
    if not _wait(directory, wait):
        _say(
            f"{directory.name} was asked to stop and is still stopping after {wait:g} s: its runs continue until "
            f"they can write a checkpoint. Check again: python -m harness.status {study_argument(directory)}"
        )
        return 1
    path.unlink(missing_ok=True)  # if the study ended by itself meanwhile, the file would stop the next coordinator
    _say(f"{directory.name} has stopped. {_kept(directory)}")
    return 0


def _stop_jobs(directory: Path) -> int:
    """Cancel the cluster jobs of a study without a coordinator."""
    StudyPaths(directory).stop.unlink(missing_ok=True)  # left by an earlier command that did not wait for the end
    if StudyPaths(directory).jobs.is_dir() or StudyPaths(directory).coordinator.exists():
        from harness.launch.slurm.cancel import cancel_study

        job = discovery.coordinator_job(directory)
        live = any(not task.over for task in discovery.tasks(directory))
        if cancel_study(directory) and (live or (job is not None and job["state"] not in ENDED)):
            _say(
                f"No coordinator of {directory.name} is running. Its waiting jobs were cancelled; running ones write a "
                f"checkpoint and end. {_kept(directory)}"
            )
            return 0
    _say(f"Nothing of {directory.name} is running. {_kept(directory)}")
    return 0


def _wait(directory: Path, seconds: float) -> bool:
    """Wait until no process holds the study; return False on timeout."""
    from harness.formatting.console import new_console

    console = new_console(stderr=True)
    holder = StudyPaths(directory).read_holder()
    who = f" (process {holder['pid']} on {holder['host']})" if {"pid", "host"} <= set(holder) else ""
    until = time.monotonic() + seconds
    with console.status(f"Stopping {directory.name}{who}: its runs write checkpoints ..."):
        while discovery.held(directory):
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
    return True


def _kept(directory: Path) -> str:
    """Describe what is kept, and how to resume."""
    from harness.status.study_status import survey

    found = survey(directory)
    ended = sum(found.runs[status] for status in RESULTS)
    if found.state == StudyState.DONE:
        return f"It is done: {plural(ended, 'run')}."
    begun = sum(found.runs[doing] for doing in Unfinished if doing != Unfinished.QUEUED)
    checkpoints = sum(1 for path in StudyPaths(directory).runs.glob("*/*") if RunPaths(path).checkpoint.is_dir())
    parts = [plural(ended, "ended run")] if ended else []
    if begun:
        parts.append(plural(begun, "unfinished run") + (f", {checkpoints} with a checkpoint" if checkpoints else ""))
    kept = f"Kept: {' and '.join(parts)}. " if parts else ""
    command = (found.coordinator or {}).get("command")
    if isinstance(command, list) and command:
        again = f"python -m harness {shlex.join(map(str, command))}"
        return f"{kept}To go on, run the same command again:\n  {again}"
    return f"{kept}To continue, run the command that started it again."


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
