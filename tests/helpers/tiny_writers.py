"""A tiny decoder and a tiny encoder-decoder with random weights, and a tokenizer of bytes with a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>\n{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
UNMARKED = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
SPECIAL = ["<|pad|>", "<|end|>", "<|start|>"]
WORDS = ("area", "city", "centre", "cheap", "coffee", "family", "food", "good", "near", "place", "river", "shop")


def tokenizer(template: str | None = UNMARKED) -> Any:
    """A byte-level BPE tokenizer whose merges cross the boundary of prompt and completion now and then."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    made.train_from_iterator([" ".join(WORDS), *(f"{a} {b}: {a}{b}" for a in WORDS for b in WORDS)], vocab_size=420)
    found = PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], bos_token=SPECIAL[2]
    )
    found.chat_template = template
    return found


def decoder(tokens: Any, dtype: torch.dtype = torch.float32) -> Any:
    """A Llama of two blocks."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).eval()


def long_decoder(tokens: Any) -> Any:
    """The decoder with a context of 4,096 tokens: those of bytes are many."""
    found = decoder(tokens)
    found.config.max_position_embeddings = 4096
    return found


DECODERS = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "gpt2", "phi3")
WINDOW = 8  # tokens that each token sees, where the architecture has such layers


def of_architecture(kind: str, tokens: Any, dtype: torch.dtype = torch.float32) -> Any:
    """A decoder of two blocks of any architecture, by transformers' `model_type`; with dropout where it has some."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "attention_dropout": 0.1,
    }  # fmt: skip
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    if kind in ("mistral", "gemma2", "gemma3_text"):
        sizes["sliding_window"] = WINDOW
    if kind in ("gemma2", "gemma3_text"):
        sizes["layer_types"] = ["sliding_attention", "full_attention"]
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokens), bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id, use_cache=False, **sizes,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def encoder_decoder(tokens: Any, dtype: torch.dtype = torch.float32) -> Any:
    """A T5 of two blocks on each side."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokens), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=tokens.pad_token_id, eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).to(dtype).eval()


def saved(directory: Path, make: Any, template: str | None = UNMARKED) -> Path:
    """Write a model and its tokenizer, as `model.path` takes them."""
    tokens = tokenizer(template)
    make(tokens).save_pretrained(directory)
    tokens.save_pretrained(directory)
    return directory
