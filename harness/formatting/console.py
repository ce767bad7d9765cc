"""Consoles for human-readable output."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console

FALLBACK = 80  # columns, if the terminal does not report its width
NARROWEST = 20  # smaller widths are ignored: COLUMNS=0 or 1 comes from programs without a terminal


def new_console(**options: Any) -> Console:
    """Create a console; it has 80 columns if the terminal reports no usable width.

    Args:
        options: passed to `rich.console.Console`.
    """
    said = os.environ.get("COLUMNS", "").strip()
    if said.lstrip("-").isdecimal() and int(said) < NARROWEST:
        return Console(**{"highlight": False, "width": FALLBACK, **options})
    console = Console(**{"highlight": False, **options})
    if console.width < NARROWEST:
        console.width = FALLBACK
    return console
