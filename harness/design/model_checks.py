"""Values that depend on the model: the number of blocks that a method trains, and the layers that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.config.kinds import kind_of
from harness.design.cells import Cell
from harness.errors import Problems, nearest
from harness.models import ResolvedModel
from harness.models.architectures import ROLES
from harness.models.model_files import header, weights_files

LAYERS = ("target_modules", "feedforward_modules")  # PEFT's keys that name layers
ALL_LINEAR = "all-linear"  # PEFT's word for every linear layer


def check_blocks(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each number of last blocks that is larger than the model's.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model, whose config.json says how many blocks it has.
        problems: added to.
    """
    if kind_of(base["method"]) != "last_layers" or model.blocks is None:
        return
    for value in _values(cell, base["method"], "method", "layers"):
        if isinstance(value, int):
            problems.check(
                value <= model.blocks,
                f"method.layers={value}: model={cell.model} has {model.blocks} blocks. Name fewer, or use method=full "
                "to train everything.",
            )


def check_layers(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each layer that a method names and the model lacks.

    PEFT refuses names of which none fits, and ignores those that do not beside one that does.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model, whose weights files name its layers.
        problems: added to.
    """
    section = base["method"].get("config")
    if not isinstance(section, Mapping):
        return
    modules: set[str] = set()
    for key in LAYERS:
        for value in _values(cell, section, "method.config", key):
            if value is None or value == ALL_LINEAR or (isinstance(value, str) and value in ROLES):
                continue
            modules = modules or _modules(model)
            line = f"method.config.{key}={_written(value)}"
            known = {name.rpartition(".")[2] for name in modules}
            if lacking := _lacking(value, modules):
                problems.add(f"{line}: model={cell.model} has no layer {lacking[0]}. {nearest(lacking[0], known)}")
            problems.check(value != [], f"{line} names no layer. {nearest('', known)} Or leave it out for the default.")


def _values(cell: Cell, section: Mapping[str, Any], where: str, key: str) -> list[Any]:
    """Return every value that a key may have in a cell."""
    tuned = cell.space.get(f"{where}.{key}")
    return [section.get(key)] if tuned is None else tuned.extremes


def _modules(model: ResolvedModel) -> set[str]:
    """Return the names of the modules that have weights, as the files spell them."""
    held = (name for file in weights_files(model.path) for name in header(file))
    return {name.removesuffix(".weight") for name in held if name.endswith(".weight")}


def _lacking(value: Any, modules: set[str]) -> list[str]:
    """Return the names that fit no module, by PEFT's rules: ends of a list, or an expression for the whole."""
    if isinstance(value, str):
        try:
            pattern = re.compile(value)
        except re.error:
            return [value]
        # Files may begin names with that of the model, which a backbone leaves out.
        fits = any(pattern.fullmatch(each) for name in modules for each in _ends(name))
        return [] if fits else [value]
    return [str(each) for each in value if not any(f".{name}".endswith(f".{each}") for name in modules)]


def _ends(name: str) -> Iterator[str]:
    yield name
    yield name.partition(".")[2]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else f"[{','.join(map(str, value))}]"
