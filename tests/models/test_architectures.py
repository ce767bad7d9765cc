"""Roles name layers that transformers' implementations have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.models.architectures import ROLES, blocks_of, ends, modules_of

CONFIGS: dict[str, dict[str, Any]] = {
    "phi3": {"num_hidden_layers": 1, "pad_token_id": 0},
    "mt5": {"num_layers": 1},
    "bart": {"encoder_layers": 1, "decoder_layers": 1},
    "marian": {"encoder_layers": 1, "decoder_layers": 1},
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_roles_name_layers(kind: str) -> None:
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        backbone = AutoModel.from_config(AutoConfig.for_model(kind, **CONFIGS[kind]))
    modules = {name for name, _ in backbone.named_modules()}
    for role in ROLES:
        assert any(ends(name, modules_of(backbone, role, kind)) for name in modules), role
    for name in modules_of(backbone, "attention", kind):
        assert any(ends(module, [name]) for module in modules), name
    assert len(blocks_of(backbone, kind)) == 1
