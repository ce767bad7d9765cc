"""Values that depend on the model: the number of blocks that a method trains, and the layers that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.config.kinds import kind_of
from harness.design.cells import Cell
from harness.errors import Problems, nearest, typed
from harness.models import ResolvedModel
from harness.models.architectures import PACKED, ROLES, WEIGHTS_ALONE
from harness.models.files.model_files import header, weights_files
from harness.models.image_files.image_architectures import EFFICIENTNET_LITE
from harness.models.sound_files.sound_architectures import WHISPER

NAMES = ("target_modules", "feedforward_modules", "exclude_modules")  # keys of PEFT that take names of layers
_AS_LIST = "Names of layers are written as a list, [query,value]."
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


def check_history(cell: Cell, base: Mapping[str, Any], problems: Problems) -> None:
    """Add a problem for each length of a history with positions that training does not reach.

    Args:
        cell: the cell.
        base: its resolved configuration.
        problems: added to.
    """
    most = base["task"].get("max_length")
    if kind_of(base["method"]) != "sasrec" or not isinstance(most, int):
        return
    for value in _values(cell, base["method"], "method", "length"):
        if isinstance(value, int):
            problems.check(
                value <= most,
                f"method.length={value}: training reads the last {most} items of a history (task.max_length), so "
                f"{value - most} positions would stay random. Set method.length to {most} or less, or task.max_length "
                f"to {value}.",
            )


def check_layer(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each `model.layer` that the model lacks, or that leaves a method nothing to train.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model.
        problems: added to.
    """
    values = [each for each in _values(cell, base["model"], "model", "layer") if isinstance(each, int)]
    if not values:
        return
    problems.check(
        model.reads in ("image", "sound"),
        f"model.layer={values[0]} is for models of images and sounds, and model={cell.model} reads texts.",
    )
    for value in values:
        problems.check(
            model.blocks is None or value <= model.blocks,
            f"model.layer={value}: model={cell.model} has {model.blocks} blocks. Name one of them, or null for the "
            "last.",
        )
    ends = model.architecture in (
        EFFICIENTNET_LITE,
        WHISPER,
    )  # others compute all blocks, and their last ones have no effect
    problems.check(
        ends or kind_of(base["method"]) not in ("last_layers", "gradual_unfreezing"),
        f"method={cell.method} trains the last blocks of model={cell.model}, and its vectors are those of block "
        f"{values[0]} (model.layer). Leave model.layer null, or choose a method for all blocks, such as method=full.",
    )


def check_layers(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each layer, named by a method or a model, that no layer of the model is called.

    PEFT refuses names of which none fits, and ignores those that do not beside one that does. Roles are left to it.

    Args:
        cell: the cell.
        base: its resolved configuration.
        model: its model.
        problems: added to.
    """
    section = base["method"].get("config")
    if not isinstance(section, Mapping):
        return
    named = [("method.config", section, key) for key in NAMES if key in section]
    if section.get("target_modules", "") is None:  # the model's own names take its place
        named.append(("model", base["model"], "target_modules"))
    for where, node, key in named:
        for value in _values(cell, node, where, key):
            _check_names(f"{where}.{key}", value, cell.model, model, problems)
            _check_called(f"{where}.{key}", value, cell.model, model, problems)
            if isinstance(value, list | tuple) and key == "target_modules":
                problems.check(
                    len(value) > 0 or bool(section.get("target_parameters")),
                    f"{where}.{key}=[] names no layer. {nearest('', _ends(model))} Or leave it out for the default.",
                )
    for value in _values(cell, section, "method.config", "layers_to_transform"):
        places = value if isinstance(value, list | tuple) else [value]
        if wrong := [each for each in places if isinstance(each, int) and each >= (model.blocks or each + 1)]:
            problems.add(
                f"method.config.layers_to_transform={_shown(value)}: model={cell.model} has {model.blocks} blocks, 0 "
                f"to {(model.blocks or 0) - 1}, and none is {wrong[0]}."
            )


def _check_called(key: str, value: Any, name: str, model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for layers beside which an adapter has no effect."""
    alone = WEIGHTS_ALONE.get(str(model.architecture), ())
    named = [str(each).rpartition(".")[2] for each in value] if isinstance(value, list | tuple) else [str(value)]
    if wrong := [each for each in named if each in alone]:
        problems.add(
            f"{key}={_shown(value)}: model={name} ({model.architecture}) multiplies by the weights of {wrong[0]} "
            f"without calling the layer, so an adapter there has no effect. Name others, such as {key}=feedforward, or "
            "use method=full."
        )


def _check_names(key: str, value: Any, name: str, model: ResolvedModel, problems: Problems) -> None:
    """Add a problem for each part of a list of layers, or for an expression, that fits no layer.

    Layers are compared as PEFT compares them: by their whole names or the ends of these. Where only the names in the
    files are known, which may begin otherwise, a name may also be longer than theirs.
    """
    if isinstance(value, list | tuple):
        known = model.layers or _in_files(model)
        once = list(dict.fromkeys(map(str, value)))
        problems.check(
            len(once) == len(value), f"{key}={_shown(value)} names a layer twice. Write {key}={_shown(once)}."
        )
        for each in map(str, value):
            fits = any(
                layer == each or layer.endswith(f".{each}") or (not model.layers and each.endswith(f".{layer}"))
                for layer in known
            )
            if not fits and (model.layers or each.rpartition(".")[2] not in TIED):
                problems.add(f"{key}={_shown(value)}: model={name} has no layer {each}. {nearest(each, _ends(model))}")
    elif isinstance(value, str) and model.layers and value not in (*ROLES, "all-linear"):
        try:
            found = any(re.fullmatch(value, layer) for layer in model.layers)
        except re.error as error:
            problems.add(f"{key}={value}: this is no regular expression ({error}). {_AS_LIST}")
            return
        # PEFT reads one name as an expression over whole names.
        as_list = f" For layers of this name: {typed(key, [value])}." if value in _ends(model) else f" {_AS_LIST}"
        problems.check(found, f"{key}={value}: as a regular expression this fits no layer of model={name}.{as_list}")


def _shown(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


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


def _ends(model: ResolvedModel) -> set[str]:
    """Return the last parts of the names of the model's layers that have weights."""
    return {name.rpartition(".")[2] for name in model.layers or _in_files(model)}


def _in_files(model: ResolvedModel) -> tuple[str, ...]:
    """Return the names of the layers in the model's files."""
    held = (name for file in weights_files(model.path) for name in header(file))
    # Older files call the weights of a norm gamma and beta.
    return tuple(name.rpartition(".")[0] for name in held if name.endswith((".weight", ".gamma")))
