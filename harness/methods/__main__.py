"""`python -m harness.methods`: prints docs/methods.md, the catalogue of the methods that come with the program."""

import sys
from pathlib import Path

from harness.methods.about import markdown
from harness.pipes import quiet_when_closed


def main() -> None:
    """Print the catalogue of conf/method, or of another directory that is named."""
    beside = Path(__file__).resolve().parents[1] / "conf/method"  # in an installed package
    default = beside if beside.is_dir() else beside.parents[2] / "conf/method"
    with quiet_when_closed():
        sys.stdout.write(markdown(Path(sys.argv[1]) if len(sys.argv) > 1 else default))


if __name__ == "__main__":
    main()
