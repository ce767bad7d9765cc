"""Tiny recognizers of speech with random weights: Whisper with its decoder, and CTC, with their tokenizers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from harness.models import PretrainedModel
from harness.tasks.speech_recognition.data import Speech
from tests.helpers.tiny_sounds import TINY as SOUNDS
from tests.helpers.tiny_sounds import waveforms

KINDS = ("whisper", "wav2vec2", "wav2vec2-masked", "hubert")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
WORDS = ("one", "two", "three", "four")


def write_speech(kind: str, directory: Path) -> Path:
    """Write a tiny recognizer; the same at every call."""
    from transformers import AutoConfig, AutoModelForCTC, WhisperForConditionalGeneration

    torch.manual_seed(0)
    settings, extractor = SOUNDS[kind]
    directory.mkdir(parents=True, exist_ok=True)
    model: Any
    if kind == "whisper":
        tokens = _tokenizer()
        ids = {name: tokens.convert_tokens_to_ids(name) for name in ("<|endoftext|>", "<|startoftranscript|>")}
        end, start = ids.values()
        config: Any = AutoConfig.for_model(
            kind, **settings | {
                "vocab_size": len(tokens), "pad_token_id": end, "bos_token_id": end, "eos_token_id": end,
                "decoder_start_token_id": start, "decoder_layers": 2, "max_target_positions": 64,
                "begin_suppress_tokens": None,
            },
        )  # fmt: skip
        model = WhisperForConditionalGeneration(config)
        tokens.save_pretrained(directory)
    else:
        vocabulary = {token: place for place, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}
        (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        said = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "do_lower_case": False}
        (directory / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
        config = AutoConfig.for_model(
            kind.removesuffix("-masked"), **settings | {"vocab_size": len(vocabulary), "pad_token_id": 0}
        )
        model = AutoModelForCTC.from_config(config)
    model.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(extractor), encoding="utf-8")
    return directory


def _tokenizer() -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    made.train_from_iterator([" ".join(WORDS)], vocab_size=280)
    return PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, pad_token="<|endoftext|>", eos_token="<|endoftext|>",
        additional_special_tokens=["<|startoftranscript|>", "<|notimestamps|>"],
    )  # fmt: skip


def recognizer(directory: Path) -> PretrainedModel:
    """Return the model as a task of speech recognition uses it."""
    from harness.api.family import families

    return PretrainedModel(name="tiny", path=str(directory)).for_family(families()["speech_recognition"])


def speech(**changes: Any) -> Speech:
    """Return what a model needs to know of a task with short sounds."""
    return Speech(
        **{"window": 1.5, "normalize": "basic", "language": None, "most_tokens": 20, "metric": "wer"} | changes
    )


def spoken(root: Path, count: int = 12, seconds: Sequence[float] = (0.4, 0.7, 1.1)) -> Path:
    """Write a folder of tones, with some words beside each."""
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(1)
    for place, wave in enumerate(waveforms([seconds[number % len(seconds)] for number in range(count)])):
        soundfile.write(root / f"{place:02d}.wav", wave, 16_000)
        words = [WORDS[each] for each in draw.integers(0, len(WORDS), 2).tolist()]
        (root / f"{place:02d}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
    return root
