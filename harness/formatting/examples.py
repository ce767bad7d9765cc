"""Short examples for messages: the first few of many values, with long ones truncated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.errors import nearest

MOST = 3  # examples in a message
LONGEST = 40  # characters of an example
ALTERNATIVES = 20  # longest list of names that a message gives in full


def short(value: object) -> str:
    """Return `repr(value)`, truncated to `LONGEST` characters."""
    text = repr(value[: LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def some(values: Sequence[object], separator: str = ", ") -> str:
    """Join the first few values, unquoted."""
    return separator.join(map(str, values[:MOST])) + (f"{separator}..." if len(values) > MOST else "")


def several(values: Sequence[object]) -> str:
    """Join the first few values, unquoted, and count the rest."""
    return ", ".join(map(str, values[:MOST])) + (f" and {len(values) - MOST} more" if len(values) > MOST else "")


def examples(values: Sequence[object]) -> str:
    """Join the first few values, quoted and truncated, and count the rest."""
    more = f" and {len(values) - MOST} more" if len(values) > MOST else ""
    return ", ".join(map(short, values[:MOST])) + more


def alternatives(name: object, options: Iterable[str]) -> str:
    """List the alternatives to an unknown name, as `nearest` does; if they are many or long, only a few of them."""
    known = list(options)
    if len(known) <= ALTERNATIVES and all(len(each) <= LONGEST for each in known):
        return nearest(str(name), known)
    import difflib

    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(map(short, close))}? " if close else ""
    return f"{hint}Known: {examples(known)}."
