"""The terminal that people look at."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console

FALLBACK = 80  # columns, where a terminal does not say how many it has
NARROWEST = 20  # what says less is no width of a terminal: COLUMNS=0 or 1 comes from programs without one


def new_console(**options: Any) -> Console:
    """A terminal to print on; one that names no usable width has 80 columns.

    Args:
        options: of `rich.console.Console`.
    """
    said = os.environ.get("COLUMNS", "").strip()
    if said.lstrip("-").isdecimal() and int(said) < NARROWEST:
        return Console(**{"highlight": False, "width": FALLBACK, **options})
    console = Console(**{"highlight": False, **options})
    if console.width < NARROWEST:
        console.width = FALLBACK
    return console
