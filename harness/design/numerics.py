"""Keys whose value `auto` is settled once a study, so that all its runs compute one thing wherever they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.design import study_file

if TYPE_CHECKING:  # it is only named here
    from harness.design.prepared_cell import PreparedCell

MASKS, PRECISION = "train.dropout_masks", "train.precision"
NEW = {MASKS: "lanes"}  # of studies and runs that begin now
OLD = {MASKS: "native"}  # of those that a version without these keys began


def numerics(directory: Path | None, config: Any, cells: Iterable[PreparedCell] = ()) -> dict[str, str]:
    """Return what `auto` means, by key.

    Args:
        directory: of the study; None for a single run. A study goes on with what it began with.
        config: of the study.
        cells: of the study; the precision may be an axis, or tuned.
    """
    auto = config.train.precision == "auto" or any(_has(cell, "auto") for cell in cells)
    asked = None if directory is None else study_file.read(directory)
    if asked is not None:
        known = asked.get("numerics")
        return OLD | (known if isinstance(known, dict) else {}) | _precision(config, auto, known)
    return NEW | _precision(config, auto, None)


def slow_precision(config: Any, cells: Iterable[PreparedCell]) -> list[str]:
    """Return a sentence if cells, whose numerics are settled, compute in bf16 on a device that has it in software only.

    Nothing is said of Slurm, whose nodes are not this machine.
    """
    from harness.system.machine import check_device, multiplies_bfloat16

    asked = any(_has(cell, "bf16") for cell in cells)
    if not asked or config.launch.kind == "slurm":
        return []
    device = check_device(str(config.device))
    if device == "mps" or multiplies_bfloat16(device):
        return []
    return [
        "This machine computes train.precision=bf16 in software, several times as slowly as fp32. A study that began "
        "with bf16 stays with it, so that its runs compute one thing: go on where bf16 is in hardware (a GPU, or a CPU "
        "with avx512_bf16 or amx_bf16), or begin a new study with train.precision=auto, which is fp32 here."
    ]


def _has(cell: PreparedCell, precision: str) -> bool:
    """Return whether a cell is given a precision, or may draw it."""
    tuned = cell.cell.space.get(PRECISION)
    return cell.base["train"].get("precision") == precision or (tuned is not None and precision in (tuned.values or ()))


def _precision(config: Any, auto: bool, known: Mapping[str, str] | None) -> dict[str, str]:
    """Return the precision of the study, if one is to be settled."""
    if isinstance(known, Mapping) and PRECISION in known:
        return {PRECISION: known[PRECISION]}
    if not auto:
        return {}
    # Nodes of a cluster are not those of the coordinator, and float32 is what all of them compute alike.
    return {PRECISION: "fp32" if config.launch.kind == "slurm" else _fastest(str(config.device))}


def _fastest(device: str) -> str:
    """Return bf16 if the device multiplies it in hardware, else fp32."""
    from harness.system.machine import check_device, multiplies_bfloat16

    return "bf16" if multiplies_bfloat16(check_device(device)) else "fp32"
