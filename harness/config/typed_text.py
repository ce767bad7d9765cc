"""Overrides of keys that take text: their values are taken as typed, even if they look like numbers or booleans."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException

from harness.config.key_types import is_list_of_text, is_text

_PLAIN = re.compile(r"\+{0,2}([\w.]+)=([\w.+,-]+)")  # quoted, bracketed and computed values need no quotes
_LISTED = re.compile(r"\+{0,2}([\w.]+)=\[([\w.+,-]+)\]")


def as_typed(arguments: Iterable[str]) -> list[str]:
    """Quote values of text keys that Hydra would read as numbers or booleans: `study=1e3` names the study 1e3.

    Args:
        arguments: of a command line; arguments that are no overrides are unchanged, and null stays null.
    """
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    match, listed = _PLAIN.fullmatch(argument), _LISTED.fullmatch(argument)
    # Options of sbatch take numbers and switches, too, of which 3.10 would become 3.1.
    option = match is not None and match[1].startswith("slurm.additional_parameters.")
    if match is not None and (option or is_text(match[1])):
        end = ""
    elif listed is not None and is_list_of_text(listed[1]):
        match, end = listed, "]"
    else:
        return argument
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        return argument  # reported where it is parsed
    parts: list[Any] = [value]
    if isinstance(value, ChoiceSweep):
        parts = value.list
    elif isinstance(value, list):
        parts = value
    texts, changed = match[2].split(","), float if option else int | float
    if not any(isinstance(part, changed) for part in parts) or len(parts) != len(texts):
        return argument
    quoted = [f"'{text}'" if isinstance(part, changed) else text for part, text in zip(parts, texts, strict=True)]
    return argument[: match.start(2)] + ",".join(quoted) + end
