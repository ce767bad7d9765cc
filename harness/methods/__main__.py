"""`python -m harness.methods`: print docs/methods.md, the catalogue of the methods that come with the program."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import command
from harness.errors import HarnessError
from harness.methods.catalogue import markdown


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the catalogue; return the exit code."""
    beside = Path(__file__).resolve().parents[1] / "conf/method"  # in an installed package
    default = beside if beside.is_dir() else beside.parents[2] / "conf/method"
    parser = argparse.ArgumentParser(
        prog="python -m harness.methods", description="Print the catalogue of methods, as docs/methods.md has it."
    )
    parser.add_argument("directory", type=Path, nargs="?", default=default, help="of methods' YAMLs (default: ours)")
    directory = parser.parse_args(arguments).directory
    if not any(directory.glob("*.yaml")):
        raise HarnessError(f"{directory} holds no YAMLs of methods. Leave it out for those that come with the program.")
    sys.stdout.write(markdown(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
