"""Methods that put virtual tokens before a text: what is pooled, padding, and how long a text may be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from harness.config.instantiate import build
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.methods.catalogue import catalogue
from harness.models import PretrainedModel
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from tests.helpers.small_dataset import ROOT
from tests.training.test_loop import session

OVERLAYS = catalogue(ROOT / "conf/method")
PROMPTS = [name for name, each in OVERLAYS.items() if "num_virtual_tokens" in (each["method"].get("config") or {})]


@pytest.fixture(scope="module")
def base(cache: Path) -> tuple[PretrainedModel, nn.Module, Any]:
    """MiniLM and its tokenizer; tests change copies."""
    torch.set_num_threads(1)
    model: PretrainedModel = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8")))
    resolved = model.resolve(cache)
    return model, load_backbone(resolved, "mean", 0), load_tokenizer(resolved)


def prompted(name: str, base: tuple[PretrainedModel, nn.Module, Any], pooling: str = "mean") -> AdaptedModel:
    """A prompt method on a copy of MiniLM, in eval mode."""
    torch.manual_seed(0)
    model, backbone, _ = base
    network = AdaptedModel(copy.deepcopy(backbone), pooling, 2)
    build(OVERLAYS[name]["method"]).adapt(network, model, 10)
    return network.eval()


def encode(base: tuple[PretrainedModel, nn.Module, Any], *texts: str) -> Batch:
    """Inputs of some texts, padded to the longest."""
    encoded = base[2](list(texts), padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", PROMPTS)
def test_padding_changes_nothing(name: str, pooling: str, base: tuple[PretrainedModel, nn.Module, Any]) -> None:
    """A text has the same vector alone and beside a longer one."""
    network = prompted(name, base, pooling)
    short, long = "my card is lost", "where is the refund that was promised to me two weeks ago"
    with torch.no_grad():
        together = network.features(encode(base, short, long))
        alone = network.features(encode(base, short))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_virtual_tokens_are_read_and_not_pooled(base: tuple[PretrainedModel, nn.Module, Any]) -> None:
    """The vector is the mean over the text's tokens, of a backbone that has read the prompt before them."""
    network = prompted("prompt_tuning", base)
    batch = encode(base, "my card is lost")
    wrapped: Any = network.backbone
    prompt = wrapped.prompt_encoder["default"].embedding.weight
    plain: Any = base[1]
    with torch.no_grad():
        words = torch.cat([prompt[None], plain.embeddings.word_embeddings(batch["input_ids"])], dim=1)
        mask = torch.ones(words.shape[:2], dtype=torch.int64)
        hidden = plain(inputs_embeds=words, attention_mask=mask).last_hidden_state[:, len(prompt) :]
        torch.testing.assert_close(network.features(batch), functional.normalize(hidden.mean(dim=1), dim=-1))
        without = functional.normalize(plain(**batch).last_hidden_state.mean(dim=1), dim=-1)
        assert not torch.allclose(network.features(batch), without, atol=1e-2)


def test_texts_that_leave_no_room_are_refused(tmp_path: Path, cache: Path) -> None:
    """Virtual tokens and the longest text must fit what the model reads, or an error says what would."""
    with pytest.raises(HarnessError, match=r"10 virtual tokens .* task\.max_length=502"):
        session(tmp_path, cache, "prefix_tuning", task={"max_length": 512})
    session(tmp_path, cache, "prefix_tuning", task={"max_length": 502})
