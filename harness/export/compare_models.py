"""`harness compare-models OLD NEW`: what a new model has learned and forgotten, on old rows and on new ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.command import command
from harness.errors import HarnessError
from harness.export.comparing import Compared, compare
from harness.export.winner import cells_of, winner


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; return 0, or 2 if there is none."""
    options = _parser().parse_args(arguments)
    named = (options.old, options.new)
    cells = cells_of(named, options.runs_dir, options.cell)
    old, new = (winner(each, options.runs_dir, cell) for each, cell in zip(named, cells, strict=True))
    if len(options.text) > 2:
        raise HarnessError(f"--text names one column, or two of pairs, not {len(options.text)}.")
    found = compare(old, new, options.rows, [*options.text, options.label], options.cache_dir)
    if options.json:
        sys.stdout.write(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=1) + "\n")
        return 0
    sys.stdout.write(f"Old: {old.model}\nNew: {new.model}\n")
    for each in found:
        sys.stdout.write("".join(f"{line}\n" for line in _told(each)))
    return 0


def _told(found: Compared) -> list[str]:
    left = f" ({found.left_out} left out: the new model was trained on them)" if found.left_out else ""
    lines = [
        f"{found.name}: {found.rows:,} rows{left}",
        f"  right: {found.old:.2%} -> {found.new:.2%} (difference {100 * (found.new - found.old):+.2f} points, 95 % "
        f"interval {100 * found.low:+.2f} to {100 * found.high:+.2f})",
        f"  learned {found.learned} rows that the old model had wrong, forgot {found.forgotten} that it had right",
    ]
    if found.classes:
        lines.append(
            "  forgotten most: " + ", ".join(f"{name} ({lost} of {rows})" for name, lost, rows in found.classes)
        )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness compare-models",
        description="Compare two saved models of classes on the test rows of the old one's study and on labeled rows "
        "of a file, such as feedback that came later. Rows that the new model was trained on are left out.",
    )
    parser.add_argument("old", metavar="OLD", help="study, run, saved model or export")
    parser.add_argument("new", metavar="NEW", help="likewise")
    parser.add_argument("--cell", metavar="CELL", help="of studies: the cell to take (default: the recommended one)")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="labeled rows: CSV, JSONL, Parquet, ...")
    parser.add_argument(
        "--text", nargs="+", default=["text"], metavar="COLUMN", help="column of texts, or two of pairs"
    )
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of labels (default: label)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--cache-dir", default="~/.cache/harness", help="default: ~/.cache/harness")
    return parser


if __name__ == "__main__":
    sys.exit(main())
