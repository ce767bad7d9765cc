"""Which architectures read sounds. Imports no torch: the coordinator judges a model by its files."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

PROCESSOR = "preprocessor_config.json"  # how waveforms become the model's input, as transformers writes it
WHISPER, SPECTROGRAM = "whisper", "audio-spectrogram-transformer"  # model types that read log-mel spectrograms
# By transformers' model_type: those that read the waveform itself, by convolutions before transformer blocks.
WAVEFORM = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
SOUND_ARCHITECTURES = frozenset((*WAVEFORM, WHISPER, SPECTROGRAM))
TRANSCRIBES = "language"  # the pooling of models that write, as `harness.models.pretrained.LANGUAGE`
FRAMES = 100  # log-mel frames a second, of Whisper and of the Audio Spectrogram Transformer
STRIDE = 2  # of Whisper's convolutions: frames of its input for a vector of its output


def reads_sounds(architecture: str | None, path: Path) -> bool:
    """Return whether a model reads sounds.

    Args:
        architecture: the `model_type` of its config.json; None for a directory of a saved model, which has none.
        path: its directory.
    """
    if architecture is not None:
        return architecture in SOUND_ARCHITECTURES
    return _read(path / PROCESSOR).get("sampling_rate") is not None


def longest_sound(path: Path) -> float | None:
    """Return the seconds that the model in a directory reads at most, by its position table; None: any length."""
    config = _read(path / "config.json")
    kind = config.get("model_type")
    if kind == WHISPER:
        return int(config.get("max_source_positions", 1500)) * STRIDE / FRAMES
    if kind == SPECTROGRAM:
        return int(config.get("max_length", 1024)) / FRAMES
    return None


def _read(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
