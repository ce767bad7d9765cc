"""`harness export <study|model dir> --to DIR`: the chosen model in files that other tools load."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import command

FORMATS = ("merged", "peft", "onnx", "sentence-transformers")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if nothing was exported."""
    options = _parser().parse_args(arguments)

    from harness.system.resources import usable_cores

    # Read by torch when it loads; torch itself ignores CPU quotas.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    from harness.export.exporting import Request, export
    from harness.export.publish import check_push, push
    from harness.export.winner import serve_argument, winner

    request = Request(options.to, options.format, options.int8, options.texts, options.license, options.examples)
    request.check()
    if options.push:
        check_push(options.push, options.public)
    found = winner(options.model, options.runs_dir, options.cell)
    if found.cell is not None:
        sys.stdout.write(f"{found.cell.cell.id}: {found.why}\n")
        sys.stdout.flush()
    told = export(found, request, options.cache_dir)
    size = sum(file.stat().st_size for file in options.to.rglob("*") if file.is_file())
    sys.stdout.write(f"{options.to} ({options.format}, {size / 2**20:.1f} MiB). {told}\n")
    sys.stdout.write(f"To serve it: harness serve {serve_argument(options.to)}\n")
    if options.push:
        sys.stdout.write(f"Pushed to {push(options.to, options.push, options.public)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness export",
        description="Export a study's recommended model, or a saved model, into a folder that other tools load. The "
        "folder is left only after its predictions for test rows were found equal to the model's.",
    )
    parser.add_argument("model", metavar="MODEL", help="study, run or saved model, by name or path")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write; it must be new")
    parser.add_argument(
        "--format", choices=FORMATS, default="merged",
        help="merged: one folder of transformers (default); peft: adapter and head; onnx; sentence-transformers",
    )  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="with --format onnx: 8-bit weights, faster on CPUs")
    parser.add_argument("--cell", metavar="CELL", help="of a study: the cell to export (default: the recommended one)")
    parser.add_argument(
        "--texts", type=Path, metavar="FILE",
        help="prove the export on these texts (column text, and pair for models of pairs) instead of test rows",
    )  # fmt: skip
    parser.add_argument(
        "--examples", action="store_true",
        help="put training texts and labels into the folder: the service shows those that are similar (default: none)",
    )  # fmt: skip
    parser.add_argument("--license", default="unknown", metavar="ID", help="for the model card, such as apache-2.0")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to the Hugging Face hub (private)")
    parser.add_argument("--public", action="store_true", help="with --push: a public repository")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--cache-dir", default="~/.cache/harness", help="default: ~/.cache/harness")
    return parser


if __name__ == "__main__":
    sys.exit(main())
