"""Recovery of texts that Hydra and YAML parse as other types: `1`, `true`, `no`, `null`.

A number is converted to the text of its digits. A boolean has lost its spelling (YAML parses no, off and false alike):
if it names something in the data, the spelling there is used; otherwise it must be quoted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.errors import Problems
from harness.formatting.examples import short, some

WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}  # booleans of YAML 1.1
DIGITS = {True: "1", False: "0"}


def as_text(value: Any) -> Any:
    """Return the text of a number; other values, booleans included, unchanged."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def plain(value: Any) -> Any:
    """Return the text of a number or boolean; other values unchanged."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)


def truth(value: Any) -> Any:
    """Return the boolean of a word, also if Hydra has read `no` as a string or `0` as a number; others unchanged."""
    word = str(value).casefold()
    return next((found for found in (True, False) if word in (*WORDS[found], DIGITS[found])), value)


def match(value: Any, options: Collection[str]) -> str | None:
    """Find the option that a configuration value means.

    Args:
        value: a text, or its parsed form: `1` or `1.0` for "1", `true` for "Yes".
        options: the possible texts.

    Returns:
        The matching option; None if none or several match.
    """
    text = as_text(value)
    if isinstance(text, str):
        if text in options:
            return text
        number = as_number(text)
        found = [each for each in options if number is not None and as_number(each) == number]
    elif isinstance(value, bool):
        found = [each for each in options if each.strip().casefold() in WORDS[value]]
        found = found or [each for each in options if each == DIGITS[value]]
    else:
        found = [each for each in options if value is None and each.strip().casefold() in ("null", "none")]
    return found[0] if len(found) == 1 else None


def half_characters(values: Sequence[Any], column: str, where: str) -> str | None:
    """Return a message about texts with half a character, which JSON can spell and no file can hold; None without any.

    Args:
        values: of the column; texts, or lists and mappings that hold some.
        column, where: names of the column and of its source.
    """
    broken = [row for row, value in enumerate(values, 1) if not _is_unicode(value)]
    if not broken:
        return None
    return (
        f"{where}: {len(broken)} of {len(values)} rows hold half a character (a lone surrogate) in column {column!r}: "
        f"row{'s' if len(broken) > 1 else ''} {some(broken)} (counted from 1, without a header). Correct or remove "
        "them."
    )


def _is_unicode(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    if isinstance(value, Mapping):
        return all(_is_unicode(each) for pair in value.items() for each in pair)
    return not isinstance(value, list | tuple) or all(map(_is_unicode, value))


def as_number(text: str) -> float | str | None:
    """Return the number that a text spells; "nan" for not-a-number (so that it equals itself); None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else "nan"  # noqa: PLR0124 - only NaN differs from itself


def shown(value: Any) -> str:
    """Format a configuration value as a user would type it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else short(value)


def check_text(problems: Problems, key: str, value: Any, needed: str, optional: bool = False) -> bool:
    """Report a value that is not a text.

    Args:
        problems: collects the message.
        key: the override key.
        value: after `as_text` or `plain`.
        needed: what the key takes, for the message: "the name of a column".
        optional: whether null is allowed.

    Returns:
        Whether the value is a text, or an allowed null.
    """
    if value is None:
        return problems.check(optional, f"{key}=null: {needed} is needed.")
    return problems.check(isinstance(value, str) and value != "", f"{key} takes {needed}, not {shown(value)}.")


def check_mapping(problems: Problems, key: str, value: Any, needed: str, null: bool = False) -> bool:
    """Report a value that is not a mapping to texts.

    Args:
        problems, key: see `check_text`.
        value: null is allowed; keys may have any simple type, values are texts or numbers.
        needed: what its values are: "the name of the class".
        null: whether a value of the mapping may be null.

    Returns:
        Whether the value is such a mapping.
    """
    if value is None:
        return True
    if not isinstance(value, Mapping):
        problems.add(f"{key} takes a mapping, {key}={{a: b}}, and {needed} as each value, not {shown(value)}.")
        return False
    good = True
    for name, each in value.items():
        if str(as_text(each)).strip() and (isinstance(as_text(each), str) or (null and each is None)):
            continue
        good = False
        cause = f" (YAML reads {', '.join(WORDS[each])} as {shown(each)})" if isinstance(each, bool) else ""
        typed, text = plain(name), WORDS[each][1] if isinstance(each, bool) else "name"
        problems.add(
            f"{key}: the value of {typed} is {shown(each)}, and {needed} is needed{cause}. Put it into quotes: in YAML "
            f'{typed}: "{text}", on the command line \'{key}={{{typed}:"{text}"}}\'.'
        )
    return good
