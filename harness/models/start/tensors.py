"""Tensors that an earlier training changed in a pretrained model; `harness.serving.start_weights` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

TRUNK, OTHER, HEAD = "trunk/", "other/", "head/"  # beginnings of names in the file


def apply(backbone: nn.Module, file: Path) -> None:
    """Copy the changed tensors into a pretrained backbone, in place; those of other parts are left out.

    Args:
        backbone: of any class of the architecture, with or without a head.
        file: of the changed tensors.
    """
    whole: Any = backbone
    places = {TRUNK: dict(whole.base_model.named_parameters()), OTHER: dict(whole.named_parameters())}
    with torch.no_grad():
        for name, tensor in load_file(file).items():
            kind, _, leaf = name.partition("/")
            target = places.get(f"{kind}/", {}).get(leaf)
            if target is not None and target.shape == tensor.shape:
                target.copy_(tensor)
