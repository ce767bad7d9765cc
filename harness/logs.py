"""`python -m harness.logs`; the code is in `harness.status.logs`."""

import sys

from harness.status.logs import main

if __name__ == "__main__":
    sys.exit(main())
