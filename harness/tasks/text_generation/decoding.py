"""Writing of texts by a trained model, in batches of prompts of similar length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.data.examples import by_length
from harness.models.inference import autocast
from harness.models.language_model import LanguageModel
from harness.tasks.text_generation.data import Writing


def write(
    network: LanguageModel,
    prompts: list[list[int]],
    tokenizer: Any,
    writing: Writing,
    batch_size: int,
    device: torch.device,
    precision: str,
) -> tuple[list[str], list[int]]:
    """Write a text after each of n prompts, with a key-value cache.

    Args:
        network: in eval mode.
        prompts: n rows of token ids.
        tokenizer: of the model.
        writing: settings.
        batch_size: prompts per batch.
        device: where the network is.
        precision: fp32 | bf16 (autocast).

    Returns:
        The n texts without special tokens and stop texts, and the number of tokens of each, its end token included.
    """
    texts, lengths = [""] * len(prompts), [0] * len(prompts)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    backbone: Any = network.backbone
    for rows in by_length(np.array([len(prompt) for prompt in prompts]), batch_size):
        longest = max(len(prompts[row]) for row in rows)
        ids = torch.full((len(rows), longest), padding, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            count = len(prompts[row])
            # A decoder goes on from the last column, so its prompts are padded on the left.
            where = slice(0, count) if network.is_encoder_decoder else slice(longest - count, longest)
            ids[place, where], mask[place, where] = torch.tensor(prompts[row]), 1
        # Not inference_mode: see `predict_all`.
        with torch.no_grad(), autocast(device, precision):
            out = backbone.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=writing.max_new_tokens,
                num_beams=writing.num_beams, do_sample=False, use_cache=True, pad_token_id=padding,
                eos_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
        new = out[:, 1:] if network.is_encoder_decoder else out[:, longest:]
        for row, written in zip(rows, new.cpu().tolist(), strict=True):
            end = written.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in written else None
            kept = written if end is None else written[:end]
            lengths[row] = len(written) if end is None else end + 1
            texts[row] = _until(tokenizer.decode(kept, skip_special_tokens=True), writing.stop)
    return texts, lengths


def _until(text: str, stops: tuple[str, ...]) -> str:
    """Return a text up to the first of some stop texts."""
    for stop in stops:
        text = text.partition(stop)[0]
    return text
