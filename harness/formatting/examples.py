"""Short examples for messages: a few of many values, long ones cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.errors import nearest

MOST = 3  # examples in a message
LONGEST = 40  # characters of an example
ALTERNATIVES = 20  # names that a message lists whole


def short(value: object) -> str:
    """Write a value as Python does, cut to `LONGEST` characters."""
    text = repr(value[: LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def some(values: Sequence[object]) -> str:
    """List the first few of many values, as they are."""
    return ", ".join(map(str, values[:MOST])) + (", ..." if len(values) > MOST else "")


def examples(values: Sequence[object]) -> str:
    """List the first few of many values, quoted and cut, and count the rest."""
    more = f" and {len(values) - MOST} more" if len(values) > MOST else ""
    return ", ".join(map(short, values[:MOST])) + more


def alternatives(name: object, options: Iterable[str]) -> str:
    """Name the alternatives to an unknown name, as `nearest` does; of many, or of long ones, the first few."""
    known = list(options)
    if len(known) <= ALTERNATIVES and all(len(each) <= LONGEST for each in known):
        return nearest(str(name), known)
    import difflib

    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(map(short, close))}? " if close else ""
    return f"{hint}Known: {examples(known)}."
