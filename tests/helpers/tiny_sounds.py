"""Tiny models that read sounds, with random weights, as save_pretrained writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.models import PretrainedModel
from harness.models.language.language_model import network_on
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from harness.models.sound_files.sound_pooling import SAMPLES, SOUND, WINDOWS

RATE = 16_000
_WAVES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_WAVE_EXTRACTOR: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE, "do_normalize": True,
    "return_attention_mask": False, "feature_size": 1, "padding_value": 0.0,
}  # fmt: skip
# By transformers' model_type, or a name of ours: the settings of the model and of its feature extractor.
TINY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "whisper": (
        {
            "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": 99,
            "max_source_positions": 150, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
            "decoder_start_token_id": 0,
        },
        {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": RATE, "chunk_length": 3},
    ),
    "wav2vec2": (_WAVES, _WAVE_EXTRACTOR),
    "wav2vec2-masked": (
        _WAVES | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
        _WAVE_EXTRACTOR | {"return_attention_mask": True},
    ),
    "hubert": (_WAVES, _WAVE_EXTRACTOR),
    "wavlm": (_WAVES, _WAVE_EXTRACTOR),
    "audio-spectrogram-transformer": (
        {
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "max_length": 200, "num_mel_bins": 32,
        },
        {
            "feature_extractor_type": "ASTFeatureExtractor", "sampling_rate": RATE, "max_length": 200,
            "num_mel_bins": 32,
        },
    ),
}  # fmt: skip


def write(kind: str, directory: Path) -> Path:
    """Write a tiny model of an architecture; the same at every call. Whisper's has its decoder, too."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    settings, extractor = TINY[kind]
    config: Any = AutoConfig.for_model(kind.removesuffix("-masked"), **settings)
    model: Any = AutoModel.from_config(config)
    model.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(extractor), encoding="utf-8")
    return directory


def pretrained(directory: Path, **more: Any) -> PretrainedModel:
    """Return the model as conf/model would name it."""
    return PretrainedModel(**{"name": "tiny", "path": str(directory), "pooling": "mean"} | more)


def network(directory: Path, pooling: str = "mean", classes: int = 3, **more: Any) -> AdaptedModel:
    """Load a written model as a network."""
    model = pretrained(directory, pooling=pooling, **more)
    made = network_on(load_backbone(model.resolve(directory), pooling, classes), pooling, classes)
    torch.manual_seed(0)
    made.reset_head()
    return made.eval()


def waveforms(seconds: Sequence[float]) -> list[npt.NDArray[np.float32]]:
    """Random tones of these lengths."""
    draw = np.random.default_rng(0)
    found = []
    for each in seconds:
        time = np.arange(round(each * RATE)) / RATE
        found.append((0.4 * np.sin(2 * np.pi * draw.uniform(200, 2000) * time)).astype(np.float32))
    return found


def batch(directory: Path, sounds: Sequence[npt.NDArray[np.float32]]) -> dict[str, torch.Tensor]:
    """Make the input of some sounds for a written model."""
    processor = load_tokenizer(pretrained(directory).resolve(directory))
    samples = np.array([len(each) for each in sounds])
    arrays: dict[str, npt.NDArray[Any]] = {
        SOUND: processor.inputs(sounds),
        SAMPLES: samples,
        WINDOWS: processor.window(samples),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
