"""Translation of OmegaConf's type errors."""

from __future__ import annotations

import re

_SHORT = 40  # characters of a value that a message shows
# Pattern of OmegaConf's message, and the type that the key takes; the group captures the value, if it is given.
_KINDS = (
    (r"Cannot convert '\w+' to string: '(.*)'", "text"),
    (r"Value '(.*)' is not a valid bool", "true or false"),
    (r"Invalid value assigned: (\w+) is not a ListConfig", "a list, [a,b]"),
    (r"Cannot assign (\w+) to (?:Dict|List)", "a mapping, {key: value}"),
    (r"Invalid type assigned: (\w+) is not a subclass of", "a mapping of its own keys"),
    (r"Cannot merge DictConfig with (ListConfig)\s+full_key: \S+\s+object_type=dict", "a mapping, {key: value}"),
    (r"Cannot merge (DictConfig) with ListConfig", "a list, [a,b]"),
    (r"field '\w+' is not (Optional)", "a value"),
)


def mistyped(text: str) -> str | None:
    """Return which type a key takes, if an error is about a value's type; None if it is about something else.

    Args:
        text: OmegaConf's message, after the message of the caller that merged the value.
    """
    key = re.search(r"full_key: (\S+)", text)
    for pattern, takes in _KINDS:
        if key is not None and (found := re.search(pattern, text)) is not None:
            override = re.search(rf"override \+*{re.escape(key[1])}=(.*)", text)
            value = (
                override[1]
                if override
                else {"Optional": "null", "DictConfig": "{...}", "ListConfig": "[...]"}.get(found[1], found[1])
            )
            if key[1].endswith("]") and value == "NoneType":
                return f"{key[1]}: an entry of a list is a text or a number, not null. Leave it out."
            shown = value if len(value) <= _SHORT else f"{value[:_SHORT]}..."
            return f"{key[1]}={shown}: this key takes {takes}, not {shown}."
    return None
