"""What every method must do: its YAML, its space, what it trains, and that training it lowers the loss."""

from __future__ import annotations

import copy
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn
from torch.nn import functional

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.errors import HarnessError
from harness.methods import ClosedForm, GradientTrained
from harness.models import PretrainedModel, ResolvedModel
from harness.models.heads import SCALE
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from harness.runs.closed_form import head_module
from harness.tasks.text_classification.linear_model import logistic_regression
from tests.helpers.small_dataset import ROOT

FILES = sorted((ROOT / "conf/method").rglob("*.yaml"))
OVERLAYS = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES}
METHODS = {name: overlay["method"] for name, overlay in OVERLAYS.items()}
# Recommenders have no backbone; tests/methods/recommenders has them.
WITHOUT = [name for name, node in METHODS.items() if "interaction" in node["about"].get("inputs", ())]
TRAINED = [name for name, node in METHODS.items() if isinstance(build(node), GradientTrained) and name not in WITHOUT]
CLOSED = [
    name
    for name in METHODS
    if name not in (*TRAINED, *WITHOUT)
    and METHODS[name]["about"].get("tasks") not in (["text_generation"], ["retrieval"])
    # Those have no head on features.
]
TEXTS = ["my card is lost", "where is my refund", "the parcel is late", "i forgot my password"]


@pytest.fixture(scope="module")
def model() -> PretrainedModel:
    """MiniLM's configuration."""
    found: PretrainedModel = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="module")
def resolved(model: PretrainedModel, cache: Path) -> ResolvedModel:
    """MiniLM's files."""
    torch.set_num_threads(1)
    return model.resolve(cache)


@pytest.fixture(scope="module")
def backbone(resolved: ResolvedModel) -> nn.Module:
    """MiniLM; shared, so tests change copies."""
    return load_backbone(resolved, "mean", 0)


@pytest.fixture(scope="module")
def inputs(resolved: ResolvedModel) -> dict[str, torch.Tensor]:
    """A batch of four texts."""
    encoded = load_tokenizer(resolved)(TEXTS, padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def test_documented_methods_are_there() -> None:
    """conf/method holds at least the eight documented methods, each under its file's name."""
    assert {node["name"] for node in METHODS.values()} == set(METHODS)
    assert set(METHODS) >= {"zero_shot", "nearest_mean", "linear_probe", "bitfit", "lora", "ia3", "adalora", "full"}


@pytest.mark.parametrize("name", METHODS)
def test_space_is_made_of_keys_that_exist(name: str) -> None:
    """Every key of a space is one of the method's or of training, is a sweep, and holds the YAML's own default."""
    overlay = OVERLAYS[name]
    known = {field.name for field in fields(TrainConfig)}
    for key, sweep in overlay["method"]["space"].items():
        section, *rest = key.split(".")
        value: Any = overlay[section]
        assert section != "train" or rest[0] in known
        for part in rest:
            value = value[part]
        override = OverridesParser.create().parse_override(f"{key}={sweep}")
        assert override.is_sweep_override()
        swept = override.value()
        if override.is_choice_sweep():
            assert value in swept.list
        else:
            assert swept.start <= value <= swept.end
    assert "space" not in overlay.get("train", {})


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_separates_clear_clusters(name: str) -> None:
    """Three tight clusters around the descriptions' directions are told apart, with one head row a class."""
    generator = np.random.default_rng(0)
    centres = np.eye(3, 8)
    labels = np.repeat(np.arange(3), 10)
    features = centres[labels] + 0.05 * generator.normal(size=(30, 8))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    method = build(METHODS[name])
    assert isinstance(method, ClosedForm)
    head = head_module(method.fit(features, labels, centres.astype(np.float32)))
    logits = head(SCALE * torch.from_numpy(features))
    assert logits.shape == (30, 3)
    assert (logits.argmax(dim=1).numpy() == labels).all()


def test_binary_logistic_regression_has_two_rows() -> None:
    """With two classes the head has a row each, whose softmax is scikit-learn's probability."""
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    features = generator.normal(size=(40, 5)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * generator.normal(size=40) > 0).astype(np.int64)
    head = logistic_regression(features, labels, 1.0)
    logits = torch.from_numpy(features @ head.weight.T + head.bias)
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(functional.softmax(logits, dim=1).numpy(), expected, atol=1e-5)


def test_what_each_trains(model: PretrainedModel, backbone: nn.Module) -> None:
    """BitFit trains biases; LoRA, IA3 and AdaLoRA their adapters; full everything. The head always trains."""
    names = {}
    for name in ("bitfit", "lora", "ia3", "adalora", "full"):
        network = AdaptedModel(copy.deepcopy(backbone), "mean", 4)
        build(METHODS[name]).adapt(network, model, 100)
        names[name] = {key for key in network.trainable() if not key.startswith("head.")}
    assert all(key.endswith("bias") for key in names["bitfit"]) and len(names["bitfit"]) == 6 * 8 + 1
    assert len(names["lora"]) == 6 * 2 * 2 and all(".lora_" in key for key in names["lora"])
    assert len(names["ia3"]) == 6 * 4 and all(".ia3_l" in key for key in names["ia3"])
    assert len(names["adalora"]) == 6 * 2 * 3
    assert len(names["full"]) == sum(1 for _ in backbone.parameters())


def test_adalora_cuts_ranks_and_saves_those_in_use(
    model: PretrainedModel, backbone: nn.Module, inputs: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Over the run AdaLoRA's ranks fall to the target, and what it saves holds no more than those."""
    from peft import PeftModel
    from safetensors.torch import load_file

    torch.manual_seed(0)
    network = AdaptedModel(copy.deepcopy(backbone), "mean", 4)
    node = copy.deepcopy(METHODS["adalora"])
    node["config"]["target_r"] = 2
    hooks = build(node).adapt(network, model, 20)
    optimizer = torch.optim.AdamW(network.trainable().values(), lr=1e-3)
    for step in range(20):
        penalty = hooks.penalty()
        assert penalty is not None and float(penalty.detach()) > 0
        torch.autograd.backward(functional.cross_entropy(network(inputs), torch.arange(4)) + penalty)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
    ranks = [int((p != 0).sum()) for key, p in network.named_parameters() if "lora_E" in key]
    assert len(ranks) == 12 and sum(ranks) <= 12 * 2 and max(ranks) > min(ranks)
    assert hooks.save(network, tmp_path / "adapter")
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sorted(len(t) for key, t in stored.items() if "lora_E" in key) == sorted(ranks)
    assert min(ranks) == 0  # a layer may lose all its ranks, and is loaded all the same
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = PeftModel.from_pretrained(copy.deepcopy(backbone), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**inputs).last_hidden_state, network.eval().backbone(**inputs).last_hidden_state
        )


def test_settings_that_cannot_work_are_told(model: PretrainedModel, backbone: nn.Module) -> None:
    """Impossible AdaLoRA settings, too few steps, a rate of zero and a backbone without biases have messages."""
    node = copy.deepcopy(METHODS["adalora"])
    node["config"]["target_r"] = 12
    node |= {"initial": 0.6, "final": 0.5}
    with pytest.raises(HarnessError) as raised:
        build(node)
    assert len(raised.value.problems) == 2 and "AdaLoRA reduces ranks" in str(raised.value)
    with pytest.raises(HarnessError, match=r"method\.C must be above 0"):
        build(METHODS["linear_probe"] | {"C": 0.0})
    without = nn.Module()
    without.config = backbone.config  # type: ignore[assignment]  # all that a network asks of it
    without.layer = nn.Linear(384, 384, bias=False)
    with pytest.raises(HarnessError, match="trains biases, and the backbone of model=minilm has none"):
        build(METHODS["bitfit"]).adapt(AdaptedModel(without, "mean", 2), model, 10)


def test_model_names_layers_where_peft_knows_none(model: PretrainedModel, backbone: nn.Module) -> None:
    """A model's `target_modules` apply where the method leaves them open, and not where it names its own."""
    open_, named = copy.deepcopy(METHODS["lora"]), copy.deepcopy(METHODS["lora"])
    named["config"]["target_modules"] = ["key"]
    special = copy.copy(model)
    special.target_modules = ["dense"]
    for node, expected in ((open_, "dense"), (named, "key")):
        network = AdaptedModel(copy.deepcopy(backbone), "mean", 4)
        build(node).adapt(network, special, 10)
        assert all(f".{expected}." in key for key in network.trainable() if not key.startswith("head."))
