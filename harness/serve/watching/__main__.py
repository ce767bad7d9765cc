"""`harness watch <study|model dir|export> DIR`: whether what a service answers has drifted from the study's rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.command import command
from harness.errors import Problems
from harness.serve.watching.told import as_json, as_text
from harness.serve.watching.watch import watch

DRIFT = 1  # exit code


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the statistics show; return 0 without drift, 1 with drift, 2 if they cannot be judged."""
    options = _parser().parse_args(arguments)
    problems = Problems()
    problems.check(
        0 < options.error < 1, f"--error must lie between 0 and 1, both excluded, such as 0.05, not {options.error:g}."
    )
    since = None
    if options.since is not None:
        try:
            since = _time(options.since)
        except ValueError:
            problems.add(f"--since {options.since} is no time: write it as 2026-11-29 or 2026-11-29T20:15.")
    problems.raise_any()
    found = watch(options.model, options.statistics, options.runs_dir, options.cell, since, options.error)
    if options.json:
        sys.stdout.write(json.dumps(as_json(found), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(as_text(found))
    return DRIFT if found.drift else 0


def _time(text: str) -> str:
    """Return a time as windows have it; one without a zone is in UTC.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness watch",
        description="Say whether the answers that harness serve --statistics counted are still like those for the "
        "validation rows of the model. Exit code: 0 no drift, 1 drift, 2 not judged.",
    )
    parser.add_argument("model", metavar="MODEL", help="what is served: study, saved model, run or export")
    parser.add_argument("statistics", type=Path, metavar="DIR", help="the folder of harness serve --statistics")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--since", metavar="TIME", help="leave earlier statistics out, such as 2026-11-29T20:15 (UTC)")
    parser.add_argument(
        "--error", type=float, default=0.05, metavar="P",
        help="how probably a week tells drift where there is none, at most (default: 0.05)",
    )  # fmt: skip
    parser.add_argument("--cell", metavar="CELL", help="of a study: the cell that is served (default: the recommended)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
