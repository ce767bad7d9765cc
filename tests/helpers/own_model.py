"""A tiny BERT of one's own on disk, with a tokenizer, for tests to spoil."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ["good", "bad", "fine", "poor", "film", "story", "acting", "great", "awful", "the", "a"]
POSITIONS = 40


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that names no longest input."""
    vocabulary = {token: id_ for id_, token in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no types there
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip


def write(directory: Path, **changes: Any) -> Path:
    """Write the model as `save_pretrained` does, with the head that it was pretrained with."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": POSITIONS,
    }  # fmt: skip
    BertForMaskedLM(BertConfig(**sizes | changes)).save_pretrained(directory)
    tokenizer().save_pretrained(str(directory))
    return directory


def copy(source: Path, target: Path) -> Path:
    """Copy a model."""
    shutil.copytree(source, target)
    return target


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Read a model's tensors."""
    return load_file(directory / "model.safetensors")


def put(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a model's tensors."""
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def configure(directory: Path, **changes: Any) -> None:
    """Change config.json; None takes a key out."""
    file = directory / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8")
