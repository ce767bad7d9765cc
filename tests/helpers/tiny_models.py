"""A tiny model with random weights of each architecture, loaded as a real one of conf/model is."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from harness.config.instantiate import build
from harness.data.examples import Batch
from harness.models import PretrainedModel, ResolvedModel
from harness.models.network import load_backbone
from tests.helpers.small_dataset import ROOT

VOCABULARY = 120
ROWS = 4
_WIDTHS: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
# Keys and values are narrower than queries, as in the real ones.
_DECODER = _WIDTHS | {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
# conf/model's name: transformers' model_type, and what differs from `_WIDTHS`.
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", _WIDTHS),
    "roberta-base": ("roberta", _WIDTHS | {"pad_token_id": 1, "type_vocab_size": 1}),
    "xlm-roberta-base": ("xlm-roberta", _WIDTHS | {"pad_token_id": 1, "type_vocab_size": 1}),
    "deberta-v3-base": (
        "deberta-v2",
        _WIDTHS
        | {
            "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0,
        },
    ),
    "distilbert": (
        "distilbert",
        {
            "vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
            "max_position_embeddings": 40,
        },
    ),
    "modernbert-base": (
        "modernbert",
        _WIDTHS | {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2, "local_attention": 8},
    ),
    "albert-base": ("albert", _WIDTHS | {"embedding_size": 16}),
    "electra-base": ("electra", _WIDTHS | {"embedding_size": 16}),
    "mpnet-base": ("mpnet", _WIDTHS | {"pad_token_id": 1}),
    "gpt2": (
        "gpt2",
        {
            "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40, "bos_token_id": 2,
            "eos_token_id": 2,
        },
    ),
    "llama-3.2-1b": ("llama", _DECODER | {"pad_token_id": None}),
    "qwen3-0.6b": ("qwen3", _DECODER),
    "gemma-3-270m": ("gemma3_text", _DECODER | {"sliding_window": 8}),
    "t5-base": (
        "t5",
        {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """A model of conf/model, tiny.

    Attributes:
        model: as conf/model has it.
        backbone: random weights; tests change copies.
    """

    model: PretrainedModel
    backbone: nn.Module

    def copy(self) -> nn.Module:
        """A backbone that a test may change."""
        return copy.deepcopy(self.backbone)

    def batch(self, rows: Any) -> Batch:
        """Random texts of unequal lengths, padded on the right; `rows` are among `ROWS`."""
        draws = np.random.default_rng(0).integers(3, VOCABULARY, size=(ROWS, 7))
        lengths = np.array([7, 4, 5, 6])
        mask = np.arange(7) < lengths[:, None]
        ids = np.where(mask, draws, 0)
        return {
            "input_ids": torch.from_numpy(ids[rows]),
            "attention_mask": torch.from_numpy(mask[rows].astype(np.int64)),
        }


def write(name: str, directory: Path) -> ResolvedModel:
    """Write a tiny model as `save_pretrained` does, the whole of it where only the encoder is used."""
    from transformers import AutoConfig, AutoModel

    kind, settings = TINY[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **settings)
    AutoModel.from_config(config).save_pretrained(str(directory))  # type: ignore[no-untyped-call]  # no types there
    return ResolvedModel(directory, "0" * 64, "tiny")


@cache
def tiny(name: str, directory: Path) -> Tiny:
    """Write and load a tiny model, once a session."""
    model: PretrainedModel = build(yaml.safe_load((ROOT / "conf/model" / f"{name}.yaml").read_text(encoding="utf-8")))
    return Tiny(model, load_backbone(write(name, directory / name), model.pooling, 0))
