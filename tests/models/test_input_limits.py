"""The longest input that is computed is one that the model takes, whatever its architecture; other tokens are told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.models import PretrainedModel, ResolvedModel
from harness.models.architecture_check import examined
from harness.models.input_limits import check_ids, longest_input
from harness.models.loading import load_weights
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from tests.helpers import own_model

POSITIONS = 40
_SIZES: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": POSITIONS, "pad_token_id": 0,
}  # fmt: skip
_PADDED = _SIZES | {"pad_token_id": 1}
_GPT: dict[str, Any] = {
    "vocab_size": 120, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": POSITIONS, "bos_token_id": 2,
    "eos_token_id": 2,
}  # fmt: skip
_BART: dict[str, Any] = {
    "vocab_size": 120, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": POSITIONS,
}  # fmt: skip
# model_type: its configuration, and how many of the 40 positions texts cannot have; None: a table of its own.
ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "bert": (_SIZES, 0),
    "electra": (_SIZES | {"embedding_size": 8}, 0),
    "roberta": (_PADDED, 2),
    "camembert": (_PADDED, 2),
    "data2vec-text": (_PADDED, 2),
    "ibert": (_PADDED, 2),
    "longformer": (_PADDED | {"attention_window": 8}, 2),
    "luke": (_PADDED | {"entity_vocab_size": 10, "entity_emb_size": 8}, 2),
    "esm": (_PADDED | {"mask_token_id": 3}, 2),
    "xmod": (_PADDED | {"languages": ["en_XX"], "default_language": "en_XX"}, 2),
    "mpnet": (_PADDED, 2),
    "xlm-roberta-xl": (_PADDED | {"pad_token_id": 3}, 4),
    "yoso": (_SIZES, 0),
    "rembert": (_SIZES | {"input_embedding_size": 8, "output_embedding_size": 8}, 0),
    "distilbert": (
        {"vocab_size": 120, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 40},
        0,
    ),
    "gpt2": (_GPT, 0),
    "gptj": (_GPT | {"rotary_dim": 4}, 0),
    "openai-gpt": (_GPT, 0),
    "opt": (_SIZES | {"ffn_dim": 16, "word_embed_proj_dim": 16}, 0),
    "bart": (_BART, 0),
    "led": (
        _BART | {"max_encoder_position_embeddings": 40, "max_decoder_position_embeddings": 40, "attention_window": 8},
        0,
    ),
    "mpt": ({"vocab_size": 120, "d_model": 16, "n_heads": 2, "n_layers": 1, "max_seq_len": POSITIONS}, 0),
    "xlm": ({"vocab_size": 120, "emb_dim": 16, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 40}, 0),
    "canine": (_SIZES, 0),
    "biogpt": (_SIZES, 0),
}
UNLIMITED: Any = SimpleNamespace(model_max_length=10**30)  # a tokenizer that knows no longest input


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_longest_input_of_architectures(kind: str, tmp_path: Path) -> None:
    """A text of the longest input is computed, beside a shorter one; tables are read before weights are there, too."""
    from transformers import AutoConfig, AutoModel

    settings, lost = ARCHITECTURES[kind]
    AutoModel.from_config(AutoConfig.for_model(kind, **settings)).save_pretrained(tmp_path)  # type: ignore[no-untyped-call]  # no types there
    resolved = ResolvedModel(tmp_path, "0" * 64, "tiny")
    backbone = load_backbone(resolved, "mean", 0)
    longest = longest_input(backbone, UNLIMITED)
    assert longest == POSITIONS - lost
    assert longest_input(load_weights(resolved, "mean", 0, device_map={"": "meta"}).backbone, UNLIMITED) == longest
    mask = torch.ones(2, longest, dtype=torch.int64)
    mask[1, longest // 2 :] = 0
    with torch.no_grad():
        logits = AdaptedModel(backbone, "mean", 2).eval()(
            {"input_ids": torch.full((2, longest), 7), "attention_mask": mask}
        )
    assert torch.isfinite(logits).all()


def test_a_tokenizers_own_limit_and_models_without_one() -> None:
    """The least counts; T5 has no limit of its own."""
    from transformers import AutoConfig, AutoModelForTextEncoding

    config = AutoConfig.for_model("t5", vocab_size=120, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    backbone = AutoModelForTextEncoding.from_config(config)  # type: ignore[no-untyped-call]  # no types there
    assert longest_input(backbone, UNLIMITED) == UNLIMITED.model_max_length
    assert longest_input(backbone, SimpleNamespace(model_max_length=12)) == 12


def test_tokens_without_embeddings(tmp_path: Path) -> None:
    """Added tokens and those that every text gets are told before a study; special ones of other uses by texts."""
    bert = own_model.write(tmp_path / "bert")

    def made(name: str, **added: Any) -> tuple[PretrainedModel, ResolvedModel]:
        directory = own_model.copy(bert, tmp_path / name)
        tokenizer = own_model.tokenizer()
        tokenizer.add_tokens(added.pop("words", []))
        tokenizer.add_special_tokens(added)
        tokenizer.save_pretrained(str(directory))
        model = PretrainedModel(name="mine", path=str(directory))
        return model, model.resolve(tmp_path)

    cases: dict[str, dict[str, Any]] = {"words": {"words": ["new", "newer"]}, "pad": {"pad_token": "<pad>"}}
    for name, added in cases.items():
        with pytest.raises(HarnessError, match=r"model embeds 16: there is no embedding of (new|<pad>) \(16\)"):
            examined(*made(name, **added), tmp_path)
    resolved = examined(*made("images", additional_special_tokens=["<image>"]), tmp_path)
    backbone, tokenizer = load_backbone(resolved, "mean", 0), load_tokenizer(resolved)
    check_ids(np.asarray(tokenizer("a good film")["input_ids"]), backbone, tokenizer, "model=mine")
    with pytest.raises(HarnessError, match=r"model=mine has no embedding: <image> \(16\); it embeds 16"):
        check_ids(np.asarray(tokenizer("a <image> film")["input_ids"]), backbone, tokenizer, "model=mine")
