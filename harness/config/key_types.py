"""The types of the keys of the common schema, and the keys that take text."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.config.schema import Config
from harness.config.validation import check
from harness.errors import Problems

NO_VALUE = ("none", "nil", "~", "")  # common spellings of null
# Text keys of sections whose classes are not part of the schema.
TEXT = (
    "task.name", "task.metric", "task.path", "task.validation_path", "task.test_path", "task.folder", "task.format",
    "task.passages",
    "task.feedback",
    "model.name", "model.hub", "model.revision", "model.path", "model.bundled", "model.pooling", "model.quantize",
    "method.name",
)  # fmt: skip


@cache
def leaves() -> dict[str, Any]:
    """Return the type of each key of the schema by its dotted path, without sections."""
    return dict(_leaves(Config, ""))


def _leaves(schema: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(schema).items():
        if is_dataclass(hint):
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint


def sections() -> set[str]:
    """Return the keys of the schema that hold other keys: `train`, `tune.constraints`, ..."""
    return {key.rpartition(".")[0] for key in leaves() if "." in key}


def options(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union type: for `int | None`, int and NoneType."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def nullable(key: str) -> bool:
    """Return whether a key of the schema may be null."""
    return type(None) in options(leaves().get(key))


def is_text(key: str) -> bool:
    """Return whether a key takes text, as a variable of `slurm.environment` does."""
    return key in TEXT or key.startswith("slurm.environment.") or str in options(leaves().get(key))


def is_list(key: str) -> bool:
    """Return whether a key of the schema takes a list."""
    return any(get_origin(option) is list for option in options(leaves().get(key)))


def is_list_of_text(key: str) -> bool:
    """Whether a key of the schema takes a list of texts."""
    return any(get_origin(option) is list and get_args(option) == (str,) for option in options(leaves().get(key)))


def without_value(key: str, value: object) -> str:
    """Return a hint on how to write no value, if the value is a spelling of null that the key does not take; or ""."""
    if str(value).lower() not in NO_VALUE or is_text(key):
        return ""
    if nullable(key):
        return "; for no value: null"
    return "; for none: 0" if {int, float} & {*options(leaves().get(key))} and _takes_zero(key) else ""


def _takes_zero(key: str) -> bool:
    config: Any = Config()
    section, _, leaf = key.rpartition(".")
    node = config
    for part in section.split(".") if section else ():
        node = getattr(node, part)
    setattr(node, leaf, 0)
    problems = Problems()
    check(config, problems)
    return not any(message.startswith(key) for message in problems.messages)
