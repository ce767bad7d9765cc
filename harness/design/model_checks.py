"""Values that depend on the model: the number of blocks that a method trains, and the layers that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.kinds import kind_of
from harness.design.cells import Cell
from harness.errors import Problems, nearest
from harness.models import ResolvedModel
from harness.models.architectures import PACKED
from harness.models.model_files import header, weights_files

# PEFT's types that put virtual tokens, or their keys and values, before what the model reads.
VIRTUAL = ("CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
TIED = frozenset({"embed_tokens", "lm_head"})  # layers that files leave out where they share another's weights


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
    """Add a problem for each layer of a list that no layer of the model is called.

    PEFT refuses names of which none fits, and ignores those that do not beside one that does. Expressions and roles are
    left to it. The files may begin names otherwise than the model, so their last parts are compared.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model, whose weights files name its layers.
        problems: added to.
    """
    section = base["method"].get("config")
    if not isinstance(section, Mapping):
        return
    known: set[str] = set()
    for value in _values(cell, section, "method.config", "target_modules"):
        if not isinstance(value, list | tuple):
            continue
        known = known or _layers(model)
        line = f"method.config.target_modules=[{','.join(map(str, value))}]"
        for name in value:
            if str(name).rpartition(".")[2] not in known | TIED:
                problems.add(f"{line}: model={cell.model} has no layer {name}. {nearest(name, known)}")
        problems.check(
            len(value) > 0 or bool(section.get("target_parameters")),
            f"{line} names no layer. {nearest('', known)} Or leave it out for the default.",
        )


def check_packing(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem if rows are to be packed, and the model or the method cannot keep them apart.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model.
        problems: added to.
    """
    if "train" in (base["method"].get("ignores") or ()) or True not in _values(cell, base["train"], "train", "packing"):
        return
    problems.check(
        model.architecture in PACKED,
        f"train.packing=true joins rows to sequences, and model={cell.model} ({model.architecture}) is not known to "
        f"keep them apart. Decoders that are: {', '.join(PACKED)}. Leave train.packing at false.",
    )
    kind = (base["method"].get("config") or {}).get("peft_type")
    problems.check(
        kind not in VIRTUAL,
        f"train.packing=true joins rows to sequences, and method={cell.method} puts virtual tokens before each "
        "sequence, not each row. Leave train.packing at false, or use a method that changes layers, such as "
        "method=lora.",
    )


def _values(cell: Cell, section: Mapping[str, Any], where: str, key: str) -> list[Any]:
    """Return every value that a key may have in a cell."""
    tuned = cell.space.get(f"{where}.{key}")
    return [section.get(key)] if tuned is None else tuned.extremes


def _layers(model: ResolvedModel) -> set[str]:
    """Return the last parts of the names of the model's layers that have weights."""
    held = (name for file in weights_files(model.path) for name in header(file))
    # Older files call the weights of a norm gamma and beta.
    return {name.split(".")[-2] for name in held if name.endswith((".weight", ".gamma")) and "." in name}
