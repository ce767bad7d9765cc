"""python -m harness.report runs/<study>."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Write a study's report and print its table; the exit status is 0, or 2 where there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.report",
        description="Write the report of a study, finished or still running: index.html (one page that needs no "
        "network), table.md, table.csv, table.tex and figures/.",
    )
    parser.add_argument("study", type=Path, help="directory of the study, e.g. runs/support")
    parser.add_argument("--output", type=Path, help="directory of the report (default: reports/<study>)")
    options = parser.parse_args(arguments)

    from rich.console import Console

    from harness.errors import HarnessError
    from harness.report import text_table, write

    try:
        report = write(options.study, options.output or Path("reports") / options.study.resolve().name)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for warning in report.study.warnings:
        sys.stderr.write(f"{warning}\n")
    console = Console()
    console.print(text_table(report))
    console.print("\n".join([*report.summary, f"Report: {report.page}"]), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
