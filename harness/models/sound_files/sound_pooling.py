"""Pooling of the vectors of a sound's frames into one vector, over the sound alone and not over what pads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.models.pooling import POOLED_WIDTH, widened, width
from harness.models.sound_files.sound_architectures import FRAMES, SPECTROGRAM, TRANSCRIBES, WHISPER

SOUND = "sound"  # key of a batch: the model's input, see `SoundProcessor.inputs`
SAMPLES = "samples"  # key of a batch: (n,) int64, the length of each sound, and
WINDOWS = "windows"  # (n,) int64, that to which it is padded
SOUND_LAYER = "feature_layer"  # attribute of a backbone: the block whose output is used (`PretrainedModel.layer`)
MASKED = "masked_sounds"  # attribute of a backbone: whether it takes masks of where sounds end
SECOND = "samples_per_second"  # attribute of a backbone: the sampling rate that it reads
# Poolings, and how many times the size of a frame's vector theirs is.
WIDTHS = {"mean": 1, "mean_std": 2, "quarters": 4}


def reads_waveforms(backbone: nn.Module) -> bool:
    """Return whether a backbone, adapted or not, reads sounds."""
    return hasattr(bare(backbone), SECOND)


def bare(backbone: Any) -> Any:
    """Return the transformers model without an adapter's wrapper."""
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def pooled_sounds(backbone: Any, batch: Batch, pooling: str) -> Tensor:
    """Return a vector (n, d) float32 for each sound.

    Sounds of one window go through the backbone together; those of another one apart, so that no sound depends on the
    others of its batch.

    Args:
        backbone: a model that reads sounds, adapted or not.
        batch: `SOUND`, `SAMPLES` and `WINDOWS`.
        pooling: mean | mean_std (means and standard deviations of the frames: Snyder et al. 2018, x-vectors) |
            quarters (the means of each quarter of the sound, so that it counts when something is heard).
    """
    vectors, order = list[Tensor](), list[Tensor]()
    for window, rows in by_window(batch):
        states, heard = _states(backbone, batch[SOUND][rows], batch[SAMPLES][rows], window)
        vectors.append(_pooled(widened(states), heard, pooling))
        order.append(rows)
    return torch.cat(vectors)[torch.argsort(torch.cat(order))]


def by_window(batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """Yield each window of a batch, in samples, with the indices of its rows."""
    windows = batch[WINDOWS]
    for window in torch.unique(windows).tolist():
        yield int(window), torch.nonzero(windows == window).flatten()


def sound_inputs(model: Any, sounds: Tensor, samples: Tensor, window: int) -> dict[str, Tensor]:
    """Return what a transformers model takes of sounds of one window, as arguments by name.

    Args:
        model: without an adapter's wrapper, see `prepare_sounds`.
        sounds: (n, ...) `SoundProcessor.inputs`, of the widest window of their batch.
        samples: (n,) the length of each.
        window: theirs, in samples.
    """
    kind = model.config.model_type
    if kind == WHISPER:
        return {"input_features": sounds[..., : window * FRAMES // int(getattr(model, SECOND))]}
    if kind == SPECTROGRAM:
        return {"input_values": sounds}
    masked = {"attention_mask": _before(samples, window).long()} if getattr(model, MASKED, False) else {}
    return {"input_values": sounds[:, :window]} | masked


def _states(backbone: Any, sounds: Tensor, samples: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return the vectors (n, t, d) of sounds of one window, and (n, t) in which of them the sound is heard."""
    model = bare(backbone)
    rate = int(getattr(model, SECOND))
    kind = model.config.model_type
    layer = None if hasattr(model, "end_after") else getattr(model, SOUND_LAYER, None)
    states_too: dict[str, Any] = {} if layer is None else {"output_hidden_states": True}
    output = backbone(**sound_inputs(model, sounds, samples, window), **states_too)
    states: Tensor = output.last_hidden_state if layer is None else output.hidden_states[layer]
    if kind == SPECTROGRAM:
        return states[:, 2:], _heard_patches(model.config, samples * FRAMES // rate)
    frames = states.shape[1]
    heard = -(-samples * frames // window)  # a frame counts if the sound reaches into it
    return states, _before(heard.clamp(1, frames), frames)


def _heard_patches(config: Any, frames: Tensor) -> Tensor:
    """Return which patches (n, p) of a spectrogram begin before the sound ends, in the order of the model's tokens."""
    high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    wide = (config.max_length - config.patch_size) // config.time_stride + 1
    heard = (-(-frames // config.time_stride)).clamp(1, wide)
    return _before(heard, wide).repeat(1, high)  # tokens of one frequency after another


def _before(counts: Tensor, length: int) -> Tensor:
    return torch.arange(length, device=counts.device) < counts[:, None]


def _pooled(states: Tensor, heard: Tensor, pooling: str) -> Tensor:
    """Pool vectors (n, t, d) where a sound is heard (n, t) into (n, d), or a multiple of d."""
    if pooling == "quarters":
        counts = heard.sum(dim=1, keepdim=True)
        place = heard.cumsum(dim=1) - 1
        parts = [_mean(states, _part(place, counts, quarter) & heard) for quarter in range(WIDTHS[pooling])]
        return torch.cat(parts, dim=1)
    mean = _mean(states, heard)
    if pooling == "mean":
        return mean
    square = _mean((states - mean[:, None]) ** 2, heard)
    return torch.cat([mean, (square + 1e-12).sqrt()], dim=1)


def _part(place: Tensor, counts: Tensor, quarter: int) -> Tensor:
    """Return which frames are in a quarter; of fewer frames than quarters, some are in several."""
    first = quarter * counts // 4
    last = torch.maximum((quarter + 1) * counts // 4, first + 1)
    return (place >= first) & (place < last)


def _mean(states: Tensor, chosen: Tensor) -> Tensor:
    weights = chosen.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def prepare_sounds(backbone: Any, processor: Any, pooling: str, layer: int | None, what: str) -> None:
    """Note on a loaded backbone what its forward passes need to know, and apply `model.layer`.

    Args:
        backbone: changed in place.
        processor: its `SoundProcessor`.
        pooling: see `pooled_sounds`.
        layer: see `PretrainedModel`.
        what: the model in messages.

    Raises:
        HarnessError: it has fewer blocks.
    """
    setattr(backbone, SECOND, processor.sampling_rate)
    setattr(backbone, MASKED, processor.masked)
    if pooling == TRANSCRIBES:
        return
    if layer is not None:
        use_sound_layer(backbone, layer, what)
    if (factor := WIDTHS.get(pooling, 1)) > 1:
        setattr(backbone, POOLED_WIDTH, factor * width(backbone))


def use_sound_layer(backbone: Any, layer: int, what: str) -> None:
    """Let a model's vectors come from an earlier block than the last one.

    A model that can end there does (`end_after`); of others all blocks compute, and the hidden states are read.

    Args:
        backbone: changed in place.
        layer: number of the block, from 1.
        what: the model in messages.

    Raises:
        HarnessError: it has fewer blocks.
    """
    blocks = len(backbone.blocks) if hasattr(backbone, "end_after") else int(backbone.config.num_hidden_layers)
    if layer > blocks:
        raise HarnessError(f"model.layer={layer}: {what} has {blocks} blocks. Name one of them, or null for the last.")
    if hasattr(backbone, "end_after"):
        backbone.end_after(layer)
    setattr(backbone, SOUND_LAYER, layer)
