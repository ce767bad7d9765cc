"""`harness` and `python -m harness`: a subcommand; without one a run, or a study with `-m`."""

from __future__ import annotations

import importlib
import re
import sys

from harness.command import command, print_problems
from harness.errors import nearest

# Each has `main(arguments) -> int`; `python -m harness.report` is the same command as `harness report`.
SUBCOMMANDS = {
    "report": "harness.report.__main__",
    "status": "harness.status.__main__",
    "logs": "harness.logs",
    "stop": "harness.stop",
    "predict": "harness.predict",
    "track": "harness.track.__main__",
    "methods": "harness.methods.__main__",
    "export": "harness.export.__main__",
    "compare-models": "harness.export.compare_models",
    "serve": "harness.serve.__main__",
    "watch": "harness.serve.watching.__main__",
    "ui": "harness.ui.__main__",
}
RUN = "run"  # the main command by name; it may be left out


@command  # Ctrl-C may hit the imports below
def main() -> int:
    """Run the command that the first argument names; return its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in SUBCOMMANDS:
        del sys.argv[1]
        return int(importlib.import_module(SUBCOMMANDS[name]).main())
    if name == RUN:
        del sys.argv[1]
    elif re.fullmatch(r"[\w-]+", name) and not name.startswith("-"):
        known = [RUN, *SUBCOMMANDS]
        return print_problems([f"harness {name}: there is no such command. {nearest(name, known)}"])
    from harness.cli import main as app

    app.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
