"""Networks on sounds: a sound's vector does not depend on its batch; methods adapt each architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods import GradientTrained
from harness.models.pooling import width
from tests.helpers.small_dataset import ROOT
from tests.helpers.tiny_sounds import RATE, TINY, batch, network, pretrained, waveforms, write

SECONDS = (0.2, 0.9, 0.45, 0.03, 1.2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sounds")
    return {kind: write(kind, root / kind) for kind in TINY}


def method(name: str, **changes: Any) -> GradientTrained:
    settings = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))["method"]
    made = build(settings | changes)
    assert isinstance(made, GradientTrained)
    return made


@pytest.mark.parametrize("kind", TINY)
def test_a_sound_does_not_depend_on_its_batch(models: dict[str, Path], kind: str) -> None:
    sounds = waveforms(SECONDS)
    for pooling, factor in (("mean", 1), ("mean_std", 2), ("quarters", 4)):
        made = network(models[kind], pooling)
        with torch.no_grad():
            together = made.features(batch(models[kind], sounds))
            alone = torch.cat([made.features(batch(models[kind], [each])) for each in sounds])
        assert together.shape == (len(sounds), 16 * factor) and width(made.backbone) == 16 * factor
        assert torch.allclose(together, alone, atol=2e-5), (pooling, (together - alone).abs().max())
        assert torch.isfinite(together).all()


def test_whisper_over_its_whole_length_is_transformers_own(models: dict[str, Path]) -> None:
    """With an input as long as the position table, the encoder is that of transformers."""
    from transformers import WhisperModel

    sounds = waveforms([3.0])
    made, inputs = network(models["whisper"]), batch(models["whisper"], sounds)
    with torch.no_grad():
        expected = WhisperModel.from_pretrained(models["whisper"]).encoder(inputs["sound"]).last_hidden_state
        found = made.features(inputs)
    assert torch.allclose(found, functional.normalize(expected.mean(1), dim=-1), atol=1e-5)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_waveforms_are_read_as_transformers_does(models: dict[str, Path], kind: str) -> None:
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    (sound,) = waveforms([0.5])
    values = Wav2Vec2FeatureExtractor(**TINY[kind][1])(sound, sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        expected = AutoModel.from_pretrained(models[kind]).eval()(values).last_hidden_state.mean(1)
        found = network(models[kind]).features(batch(models[kind], [sound]))
    assert torch.allclose(found, functional.normalize(expected, dim=-1), atol=1e-5)


@pytest.mark.parametrize("kind", TINY)
def test_vectors_of_an_earlier_block(models: dict[str, Path], kind: str) -> None:
    inputs = batch(models[kind], waveforms(SECONDS))
    first, last = network(models[kind], layer=1), network(models[kind])
    with torch.no_grad():
        assert not torch.allclose(first.features(inputs), last.features(inputs), atol=1e-3)
    with pytest.raises(HarnessError, match=r"model\.layer=9: .* has 2 blocks"):
        network(models[kind], layer=9)
    if kind == "whisper":  # what follows is neither computed nor counted
        kept, whole = (sum(p.numel() for p in each.backbone.parameters()) for each in (first, last))
        assert kept < whole


CASES = [
    *((kind, name) for kind in TINY for name in ("full", "bitfit", "last_layers", "lora")),
    *(("whisper", name) for name in ("lora_all_linear", "ia3", "houlsby", "ln_tuning", "dora", "adalora", "vera")),
    *(("wav2vec2", name) for name in ("lora_all_linear", "ia3", "houlsby", "oft")),
    ("audio-spectrogram-transformer", "ia3"), ("hubert", "hra"), ("whisper", "gradual_unfreezing"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_methods_adapt_architectures(models: dict[str, Path], kind: str, name: str) -> None:
    """A few steps lower the loss and change what is trained; the same steps give the same weights."""
    inputs, targets = batch(models[kind], waveforms([0.2, 0.9, 0.45, 0.3, 0.6, 0.1])), torch.tensor([0, 1, 2, 0, 1, 2])
    found: list[dict[str, torch.Tensor]] = []
    for _ in range(2):
        made = network(models[kind])
        changes: dict[str, Any] = {"layers": 1} if name == "last_layers" else {}
        hooks = method(name, **changes).adapt(made, pretrained(models[kind]), 20)
        made.train()
        trained = made.trainable()
        start = {key: value.detach().clone() for key, value in trained.items()}
        optimizer, losses = torch.optim.AdamW(trained.values(), lr=3e-3, weight_decay=0), []
        torch.manual_seed(1)
        for step in range(8):
            loss = functional.cross_entropy(made(inputs), targets)
            (loss if hooks.penalty() is None else loss + hooks.penalty()).backward()
            hooks.before_update(step)
            optimizer.step()
            hooks.after_step(step)
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
        changed = [key for key, value in trained.items() if not torch.equal(value, start[key])]
        assert any(not key.startswith("head.") for key in changed)
        found.append({key: value.detach() for key, value in trained.items()})
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
