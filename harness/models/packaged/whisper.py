"""Whisper in CTranslate2's format, as faster-whisper reads it, as a directory that transformers loads.

CTranslate2 (format 6) stores the queries, keys and values of a layer as one matrix, in float16, so the values are those
of the original checkpoint rounded to 16 bits. Reading it takes no package but NumPy.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.models.files.model_files import WHOLE
from harness.models.packaged.conversion import converted_once
from harness.models.sound_files.sound_architectures import PROCESSOR

FORMAT = 1  # of converted directories; increased when a conversion gives other files
FILE = "model.bin"  # its name in packages
VERSION = 6  # of CTranslate2's files
SECONDS = 600.0  # longest time of a conversion
TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # CTranslate2's numbers of types
HOP, WINDOW, RATE, CHUNK = 160, 400, 16_000, 30  # of Whisper's log-mel frames: samples, samples, Hz, seconds
# CTranslate2's names of layers, then transformers'.
NAMES = (
    (r"/layer_(\d+)/", r"/layers/\1/"), ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("/attention/layer_norm", "/encoder_attn_layer_norm"), ("ffn/layer_norm", "final_layer_norm"),
    ("ffn/linear_0", "fc1"), ("ffn/linear_1", "fc2"), ("self_attention/linear_1", "self_attn/out_proj"),
    ("/attention/linear_2", "/encoder_attn/out_proj"), ("/attention/linear_0", "/encoder_attn/q_proj"),
    ("position_encodings/encodings", "embed_positions/weight"), ("embeddings/weight", "embed_tokens/weight"),
    ("layer_norm/gamma", "layer_norm/weight"), ("layer_norm/beta", "layer_norm/bias"),
)  # fmt: skip
FUSED = {"self_attention/linear_0": ("self_attn", "qkv"), "/attention/linear_1": ("encoder_attn", "kv")}

Array = npt.NDArray[Any]


def converted(file: Path, sha256: str, cache_dir: str | Path, model: str) -> Path:
    """Return the directory with the weights as safetensors, config.json, feature extractor and tokenizer.

    Args:
        file: model.bin, its digest and that of the tokenizer beside it checked by the caller.
        sha256: its digest, which names the directory.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.

    Raises:
        HarnessError: the cache cannot be written, or the weights do not fit.
    """
    module = "harness.models.packaged.whisper"
    return converted_once(module, f"{sha256[:32]}-{FORMAT}", file, cache_dir, model, SECONDS)


def convert(file: Path, target: Path) -> None:
    """Write the model as `save_pretrained` does.

    Args:
        file: model.bin, with config.json and tokenizer.json beside it.
        target: a directory that exists.

    Raises:
        ValueError: the file is of another format.
        RuntimeError: tensors are missing, or have other shapes.
    """
    import torch
    from transformers import WhisperForConditionalGeneration

    held = read(file)
    weights = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in _renamed(held)}
    config = _config(held, json.loads((file.parent / "tokenizer.json").read_text(encoding="utf-8")))
    with torch.device("meta"):
        network: Any = WhisperForConditionalGeneration(config)
    network.load_state_dict(weights | {"proj_out.weight": weights["model.decoder.embed_tokens.weight"]}, assign=True)
    network.tie_weights()
    network.generation_config = _generation(config, json.loads((file.parent / "config.json").read_text("utf-8")))
    network.save_pretrained(target)
    (target / WHOLE).chmod(0o644)  # safetensors lets nobody else read it
    shutil.copyfile(file.parent / "tokenizer.json", target / "tokenizer.json")
    settings = {
        "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": config.num_mel_bins, "hop_length": HOP,
        "n_fft": WINDOW, "sampling_rate": RATE, "chunk_length": CHUNK, "padding_value": 0.0,
        "return_attention_mask": False,
    }  # fmt: skip
    (target / PROCESSOR).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Array]:
    """Return the variables of a CTranslate2 file of format 6 by name.

    Raises:
        ValueError: it is of another format, or cut short.
    """
    content = memoryview(file.read_bytes())
    place = 0

    def numbers(form: str) -> tuple[int, ...]:
        nonlocal place
        found = struct.unpack_from(f"<{form}", content, place)
        place += struct.calcsize(f"<{form}")
        return found

    def text() -> str:
        nonlocal place
        (length,) = numbers("H")
        place += length
        return bytes(content[place - length : place]).rstrip(b"\0").decode()

    try:
        (version,) = numbers("I")
        kind = text()
        if version != VERSION or kind != "WhisperSpec":
            raise ValueError(f"it is {kind} in format {version} of CTranslate2, not WhisperSpec in format {VERSION}")
        _, count = numbers("II")
        found: dict[str, Array] = {}
        for _ in range(count):
            name = text()
            (rank,) = numbers("B")
            shape = numbers("I" * rank)
            kind_number, size = numbers("BI")
            values = np.frombuffer(content[place : place + size], TYPES[kind_number])
            found[name] = values.reshape(shape)
            place += size
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"it is cut short, or no file of CTranslate2 ({error})") from None
    return found


def _renamed(held: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield the weights by transformers' names."""
    for name, values in held.items():
        if not values.ndim:
            continue  # a setting
        new = name
        fused = next((known for known in FUSED if known in new), None)
        for old, replacement in NAMES:
            new = re.sub(old, replacement, new)
        if fused is None:
            yield f"model.{new.replace('/', '.')}", values
            continue
        layer, parts = FUSED[fused]
        start = re.sub(r"/layer_(\d+)/", r"/layers/\1/", name).split(fused.lstrip("/"))[0]
        for part, piece in zip(parts, np.split(values, len(parts)), strict=True):
            weight = name.rpartition("/")[2]
            if not (part == "k" and weight == "bias"):  # Whisper's keys have none; CTranslate2 stores zeros
                yield f"model.{start}{layer}.{part}_proj.{weight}".replace("/", "."), piece


def _config(held: dict[str, Array], tokenizer: dict[str, Any]) -> Any:
    """Return the configuration, from the shapes of the weights and the ids of the special tokens."""
    from transformers import WhisperConfig

    ids = {each["content"]: int(each["id"]) for each in tokenizer["added_tokens"]}
    layers = {
        part: 1 + max(int(found[1]) for name in held if (found := re.match(rf"{part}/layer_(\d+)/", name)))
        for part in ("encoder", "decoder")
    }
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    vocabulary, size = held["decoder/embeddings/weight"].shape
    inner = held["encoder/layer_0/ffn/linear_0/bias"].shape[0]
    heads = int(held["encoder/num_heads"])
    return WhisperConfig(
        vocab_size=vocabulary, d_model=size, num_mel_bins=held["encoder/conv1/weight"].shape[1],
        encoder_layers=layers["encoder"], decoder_layers=layers["decoder"], encoder_attention_heads=heads,
        decoder_attention_heads=int(held["decoder/num_heads"]), encoder_ffn_dim=inner, decoder_ffn_dim=inner,
        max_source_positions=held["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=held["decoder/position_encodings/encodings"].shape[0],
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start,
    )  # fmt: skip


def _generation(config: Any, settings: dict[str, Any]) -> Any:
    """Return how texts are written: what CTranslate2's settings suppress."""
    from transformers import GenerationConfig

    return GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id, bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, max_length=config.max_target_positions,
        suppress_tokens=settings.get("suppress_ids"), begin_suppress_tokens=settings.get("suppress_ids_begin"),
    )  # type: ignore[no-untyped-call]  # fmt: skip


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
