"""`python -m harness.report <study>`: write the report of a study, given by name or path."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.command import command
from harness.errors import HarnessError
from harness.report.cells.settings import Settings

if TYPE_CHECKING:
    from harness.report.tables.definition import Definition


@command
def main(arguments: list[str] | None = None) -> int:
    """Write a report and print its table; return 0, or 2 if there is nothing to report."""
    parser = _parser()
    options = parser.parse_args(arguments)

    from harness.formatting.console import new_console
    from harness.records.locate import find, names
    from harness.report import text_table, write
    from harness.report.reading.archive import freeze
    from harness.report.tables.definition import Definition, read_definition

    definition = read_definition(options.definition) if options.definition else Definition()
    named = options.studies or list(definition.studies)
    if not named:
        known = names(options.runs_dir)
        which = f"studies in {options.runs_dir}: {', '.join(known)}" if known else f"{options.runs_dir} holds none"
        parser.error(f"no study is named: give a name or a path, or studies: in the definition ({which})")
    studies = [find(each, options.runs_dir, archives=True) for each in named]
    anchor = find(options.anchor, options.runs_dir, archives=True) if options.anchor else None
    if options.anchor and len(studies) > 1:
        parser.error("--anchor takes one study: say of each what moved since an earlier one of its own")
    if anchor is not None and studies and anchor.resolve() == studies[0].resolve():
        raise HarnessError(f"--anchor {options.anchor} is the study itself: name an earlier one.")
    if options.freeze:
        if len(studies) > 1:
            parser.error("--freeze takes one study")
        freeze(studies[0], options.freeze)
        sys.stdout.write(f"Archive: {options.freeze}\n")
        return 0
    definition = replace(definition, settings={**definition.settings, **_settings(options)})
    output = options.output or Path("reports") / _name(studies, definition)
    report = write(studies, output, definition=definition, anchor=anchor)
    for warning in report.study.warnings:
        sys.stderr.write(f"{warning}\n")
    console = new_console(highlight=True)
    console.print(text_table(report, console.width))
    console.print(
        "\n".join([*report.summary, *report.drift, f"Report: {report.page}"]),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.report",
        description="Write the report of a study, finished or still running, or of several: index.html (one page that "
        "needs no network), table.md, table.csv, table.tex and figures/.",
    )
    parser.add_argument(
        "studies", nargs="*", metavar="study",
        help="a study's name in the directory of studies, or the path of its directory or archive",
    )  # fmt: skip
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="directory of the report (default: reports/<study>)")
    parser.add_argument(
        "--definition", type=Path, metavar="FILE", help="rows, columns, order, pivot and settings: reports/*.yaml"
    )
    parser.add_argument("--anchor", metavar="STUDY", help="an earlier study to say what moved against")
    parser.add_argument("--freeze", type=Path, metavar="FILE.zip", help="write an archive of the study instead")
    judge = parser.add_argument_group("how it judges (these win over the definition's settings)")
    judge.add_argument(
        "--margin", type=float, metavar="FRACTION",
        help="how far below the best is as good: 0.01 is one point of a metric in percent "
        f"(default: {Settings.margin:g})",
    )  # fmt: skip
    judge.add_argument(
        "--cost", metavar="NAME", help=f"what the recommended cell is cheapest in (default: {Settings.cost})"
    )
    judge.add_argument("--requests", type=float, metavar="N", help="a month, for the total cost of ownership")
    judge.add_argument(
        "--months", type=float, metavar="N", help=f"that the model serves (default: {Settings.months:g})"
    )
    judge.add_argument(
        "--failed-as", metavar="HOW",
        help="how confirmations that failed count in verdicts: majority (the most frequent class, the default), worst "
        "(the worst seed of the cell) or excluded",
    )  # fmt: skip
    judge.add_argument("--no-examples", action="store_true", help="show no single test row")
    return parser


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "margin": options.margin, "cost": options.cost, "requests_per_month": options.requests,
        "months": options.months, "failed_as": options.failed_as, "examples": False if options.no_examples else None,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _name(studies: list[Path], definition: Definition) -> str:
    """Name the report's directory after the study if there is only one, else after the definition."""
    if len(studies) == 1:
        return studies[0].resolve().name.removesuffix(".zip")
    named = Path(definition.source).stem if definition.source.endswith(".yaml") else ""
    return named or "+".join(study.resolve().name for study in studies)


if __name__ == "__main__":
    sys.exit(main())
