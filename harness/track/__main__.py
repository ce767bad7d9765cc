"""python -m harness.track <study> <tracker> [key=value ...]: send a study to a tracker, afterwards or again."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.command import command
from harness.errors import HarnessError, nearest
from harness.records.files import load_yaml
from harness.records.locate import find
from harness.track.base import Tracker
from harness.track.registry import KNOWN, defaults
from harness.track.study_follower import TRACK, Follow, stem
from harness.track.tensorboard import FOLDER, TensorBoard


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 on an invalid request or a failure of the tracker."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.track",
        description="Send a study's runs and report to a tracker; what was sent before is not sent again.",
    )
    parser.add_argument("study", help="a study's name in the directory of studies, or a path")
    parser.add_argument("tracker", choices=sorted(KNOWN))
    parser.add_argument("options", nargs="*", metavar="key=value", help="as in conf/tracker, e.g. project=mine")
    parser.add_argument("--again", action="store_true", help="tell everything anew")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--report", type=Path, help="the report's directory (default: reports/<study>)")
    options = parser.parse_args(arguments)
    try:
        study = find(options.study, options.runs_dir)
        tracker = _tracker(options.tracker, options.options)
        (study / TRACK).mkdir(exist_ok=True)
        with FileLock(f"{stem(study, tracker.name)}.lock").acquire(timeout=1):
            if options.again:
                _forget(study, tracker)
            follow = Follow(study, tracker)
            follow.look()
            follow.report(options.report or Path("reports") / study.name)
            for sentence in follow.close():
                sys.stdout.write(sentence + "\n")
    except Timeout:
        sys.stderr.write(f"Error: {options.study} is in use by tracker={options.tracker} just now.\n")
        return 2
    except HarnessError:
        raise
    except Exception as error:  # noqa: BLE001 -- any error of a tracker's library is reported in one line
        sys.stderr.write(f"Error: {options.tracker}: {type(error).__name__}: {error}\n")
        return 2
    return 0


def _forget(study: Path, tracker: Tracker) -> None:
    """Delete the log of what was sent, and TensorBoard's event files, to which new points would be appended."""
    account = stem(study, tracker.name)
    for path in (Path(f"{account}.json"), *account.rglob("*.json")):
        path.unlink(missing_ok=True)
    if isinstance(tracker, TensorBoard):
        shutil.rmtree(study / FOLDER, ignore_errors=True)


def _tracker(name: str, options: Sequence[str]) -> Tracker:
    kind: type[Any] = KNOWN[name]
    keys = list(defaults(kind))
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in keys:
            raise HarnessError(f"{option} is no key=value of {name}. {nearest(key, keys)}")
        values[key] = load_yaml(value)
    tracker: Tracker = kind(**values)
    tracker.check()
    return tracker


if __name__ == "__main__":
    sys.exit(main())
