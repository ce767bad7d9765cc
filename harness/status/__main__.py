"""python -m harness.status [study]: progress, running jobs and failures of a study, at any time, from any machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.command import command
from harness.records.states import StudyState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from harness.status.study_status import StudyStatus

WATCH_SECONDS = 2.0


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if the study does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.status",
        description="How far a study is: its cells, its jobs, what failed. Without a name: one line a study.",
    )
    parser.add_argument("study", nargs="?", help="a study's name in the directory of studies, or a path")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--watch", action="store_true", help="a live view until the study has ended; Ctrl-C ends the view"
    )
    form.add_argument("--json", action="store_true", help="one JSON object; its keys are in docs/files.md")
    options = parser.parse_args(arguments)

    from harness.records.locate import find, names

    directory = find(options.study, options.runs_dir) if options.study is not None else None

    from rich.text import Text

    from harness.formatting.console import new_console
    from harness.status.study_status import survey
    from harness.status.terminal import detail, overview

    def look() -> list[StudyStatus]:
        places = [options.runs_dir / name for name in names(options.runs_dir)]
        return [survey(place) for place in ([directory] if directory is not None else places)]

    def show(found: list[StudyStatus]) -> list[RenderableType]:
        return detail(found[0]) if directory is not None else overview(found, options.runs_dir)

    if options.json:
        found = look()
        content = _content(found[0]) if directory is not None else _index(found, options.runs_dir)
        sys.stdout.write(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    elif options.watch:
        _watch(new_console(), look, show)
    else:
        console = new_console()
        for part in show(look()):
            console.print(part, soft_wrap=isinstance(part, Text))  # a command must stay on one line to be copied
    return 0


def _watch(
    console: Console, look: Callable[[], list[StudyStatus]], show: Callable[[list[StudyStatus]], list[RenderableType]]
) -> None:
    from rich.console import Group
    from rich.live import Live

    try:
        found = look()
        with Live(Group(*show(found)), console=console, auto_refresh=False) as live:
            while any(each.state in (StudyState.RUNNING, StudyState.QUEUED) for each in found):
                time.sleep(WATCH_SECONDS)
                found = look()
                live.update(Group(*show(found)), refresh=True)
    except KeyboardInterrupt:
        pass  # the usual way to end a live view


def _content(found: StudyStatus) -> dict[str, Any]:
    content = asdict(found)
    return content | {"directory": str(found.directory), "activity": _stamp(found.activity)}


def _index(found: list[StudyStatus], runs_dir: Path) -> dict[str, Any]:
    keys = ("name", "directory", "state", "runs", "activity")
    rows = [{key: _content(each)[key] for key in keys} | {"cells": len(each.cells)} for each in found]
    return {"runs_dir": str(runs_dir), "studies": rows}


def _stamp(moment: float | None) -> str | None:
    from datetime import UTC, datetime

    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
