"""Which model, adapted by which method, is good enough for a task at least cost, and how sure we are."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # as `python -m harness...` begins, before it imports what a file may hide
    from harness.system import shadowed_modules

    shadowed_modules.refuse()
