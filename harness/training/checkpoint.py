"""Checkpoints, from which interrupted runs resume: one safetensors file each, complete or absent.

Tensors and their JSON state are in the same file, so they are always from the same moment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.records.files import atomic


class DamagedCheckpoint(Exception):
    """A checkpoint cannot be read or belongs to another run."""


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and JSON-serializable state atomically; the content is on disk before the file is renamed."""
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        save_file(contiguous, temporary, metadata={"state": json.dumps(state)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def load_checkpoint(path: Path, signature: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read a checkpoint; return None if there is none.

    Raises:
        DamagedCheckpoint: it cannot be read, or its `signature` differs from this one.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path} cannot be read ({error})") from error
    if state.get("signature") != signature:
        raise DamagedCheckpoint(f"{path} belongs to another configuration")
    return tensors, state


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add a prefix to the names of tensors."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def group(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, with the prefix removed."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
