"""Type checks of values against the annotations of the class in `_target_`, as dataclasses do not check types."""

from __future__ import annotations

import enum
import importlib
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from harness.config.key_types import options

WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}


def type_errors_of(node: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield a message for each value of a node, nested nodes included, that does not have its declared type.

    Args:
        node: holds `_target_` and fields of the dataclass that it names, whose module is imported.
        where: the node's key.
    """
    cls = _located(str(node["_target_"]))
    if not is_dataclass(cls):
        return
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):  # its module imports some names for type checkers only
        return
    for field in fields(cls):
        if field.name not in node:
            continue
        value, key = node[field.name], f"{where}.{field.name}"
        if isinstance(value, Mapping) and "_target_" in value:
            yield from type_errors_of(value, key)
        elif not fits(value, hints[field.name]) and (field.default is MISSING or value != field.default):
            wants = " or ".join(dict.fromkeys(_words(option) for option in options(hints[field.name])))
            shown = "null" if value is None else repr(value) if isinstance(value, str) else str(value).lower()
            no_value = type(None) in options(hints[field.name]) and str(value).lower() in ("none", "nil", "")
            yield f"{key}={_plain(value)}: this key takes {wants}, not {shown}" + (
                "; for no value: null." if no_value else "."
            )


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value from YAML has a type; for types that YAML cannot express, any value does."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if len(options(hint)) > 1:
        return any(fits(value, option) for option in options(hint))
    if origin is Literal:
        # Some Literals of PEFT contain a pattern such as pissa_niter_[number of iters].
        patterns = [each.partition("[")[0] for each in arguments if isinstance(each, str) and "[" in each]
        return value in arguments or (isinstance(value, str) and any(map(value.startswith, patterns)))
    if hint in WORDS:
        held = int | float if hint is float else hint
        return isinstance(value, held) and (hint is bool or not isinstance(value, bool))
    return _holds(value, origin or hint, arguments)


def _holds(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    """Return whether a value is a collection of a kind whose items have the types of its arguments."""
    if not isinstance(kind, type):
        return True
    if issubclass(kind, enum.Enum):  # YAML has the name of an enum member
        return isinstance(value, str)
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(
            fits(part, argument) for pair in value.items() for part, argument in zip(pair, arguments, strict=False)
        )
    if issubclass(kind, Collection):
        inner = arguments[0] if arguments and (kind is not tuple or arguments[-1] is ...) else Any
        return isinstance(value, list | tuple) and all(fits(item, inner) for item in value)
    return True


def _words(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return f"one of {', '.join(str(each).lower() for each in typing.get_args(hint))}"
    if origin in WORDS:
        return WORDS[origin]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return "a list"
    return f"a {getattr(origin, '__name__', str(origin))}"


def _plain(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _located(target: str) -> Any:
    """Return the class of a dotted name; None if there is none, which is reported where the object is built."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None
