"""`python -m harness.stop`; the code is in `harness.status.stop`."""

import sys

from harness.status.stop import main

if __name__ == "__main__":
    sys.exit(main())
