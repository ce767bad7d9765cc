"""Greedy transcription: the likeliest token at each place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.data.examples import Batch
from harness.models.sound_files.sound_pooling import SAMPLES
from harness.models.speech.speech_model import SpeechModel


class Transcribed(NamedTuple):
    """Tokens that were written for a sound.

    Attributes:
        tokens: ids, without start and end tokens; of CTC without blanks, repetitions joined.
        cut: whether they were cut at the most tokens, before the model ended.
    """

    tokens: list[int]
    cut: bool


@torch.inference_mode()
def transcribe(network: SpeechModel, batch: Batch, prefix: Sequence[int], most: int) -> list[Transcribed]:
    """Write what is said in the sounds of a batch; of a network in eval mode.

    Args:
        network: the network.
        batch: n sounds, see `SpeechModel`.
        prefix: tokens that a decoder begins with; of no use for CTC.
        most: most tokens of an output of a decoder.
    """
    found: dict[int, Transcribed] = {}
    for rows, inputs in network.inputs_by_window(batch):
        if network.is_encoder_decoder:
            written = _decoded(network, inputs, len(rows), prefix, most)
        else:
            logits = network.backbone(**inputs).logits
            written = _collapsed(
                logits.argmax(-1), network.frames(batch[SAMPLES][rows], logits.shape[1]), network.blank
            )
        found.update(zip(rows.tolist(), written, strict=True))
    return [found[row] for row in range(len(found))]


def _collapsed(best: Tensor, frames: Tensor, blank: int) -> list[Transcribed]:
    """Join repetitions, then leave blanks out (Graves et al. 2006)."""
    rows = [torch.unique_consecutive(row[:count]).tolist() for row, count in zip(best, frames.tolist(), strict=True)]
    return [Transcribed([token for token in row if token != blank], False) for row in rows]


def _decoded(
    network: SpeechModel, inputs: dict[str, Tensor], count: int, prefix: Sequence[int], most: int
) -> list[Transcribed]:
    """Write with a decoder, which reads each of its tokens once; rows that have ended leave the batch."""
    from transformers import DynamicCache, EncoderDecoderCache

    bare: Any = network.bare
    settings = bare.generation_config
    device = next(iter(inputs.values())).device
    ends = _ids(settings.eos_token_id) or _ids(bare.config.eos_token_id)
    never, first = _ids(settings.suppress_tokens), _ids(settings.begin_suppress_tokens)
    states = bare.get_encoder()(**inputs).last_hidden_state
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    read = torch.tensor([list(prefix)] * count, device=device)
    rows = list(range(count))
    written: list[list[int]] = [[] for _ in rows]
    open_rows = set(rows)
    for step in range(most):
        logits = network.backbone(
            encoder_outputs=(states,), decoder_input_ids=read, past_key_values=cache, use_cache=True
        ).logits[:, -1]
        for ids in (never, first if step == 0 else []):
            logits[:, ids] = -torch.inf
        chosen = logits.argmax(-1)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if token in ends:
                open_rows.discard(row)
            elif row in open_rows:
                written[row].append(token)
        if not open_rows:
            break
        kept = torch.tensor([place for place, row in enumerate(rows) if row in open_rows], device=device)
        read = chosen[:, None]
        if len(kept) < len(rows):
            cache.batch_select_indices(kept)
            states, read = states[kept], read[kept]
            rows = [row for row in rows if row in open_rows]
    return [Transcribed(tokens, row in open_rows) for row, tokens in enumerate(written)]


def _ids(value: Any) -> list[int]:
    return [] if value is None else [int(each) for each in value] if isinstance(value, list | tuple) else [int(value)]
