"""Where models come from, what their digests say, and how token vectors become one."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.models import PretrainedModel, ResolvedModel
from harness.models.input_limits import longest_input
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from harness.models.pooling import pool
from tests.helpers.small_dataset import ROOT

MINILM = yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    """MiniLM from the package."""
    found: ResolvedModel = build(MINILM).resolve(tmp_path_factory.mktemp("cache"))
    return found


@pytest.fixture(scope="module")
def backbone(resolved: ResolvedModel) -> nn.Module:
    """MiniLM; shared, so tests must not change it."""
    return load_backbone(resolved, "mean", 0)


def batch(resolved: ResolvedModel, texts: list[str]) -> dict[str, torch.Tensor]:
    """Tokenise some texts."""
    encoded = load_tokenizer(resolved)(texts, padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def test_every_model_yaml_is_named_after_its_file() -> None:
    """conf/model holds at least the documented models; each but the own ones has a source and its file's name."""
    files = sorted(path for path in (ROOT / "conf/model").rglob("*.yaml") if not path.stem.startswith("own"))
    names = {build(yaml.safe_load(file.read_text(encoding="utf-8"))).name for file in files}
    assert names == {file.stem for file in files}
    assert names >= {
        "minilm", "bert-base", "roberta-base", "deberta-v3-base", "distilbert", "modernbert-base", "xlm-roberta-base",
        "bge-small-en", "albert-base", "electra-base", "mpnet-base", "gpt2", "llama-3.2-1b", "qwen3-0.6b",
        "gemma-3-270m", "t5-base", "smollm2",
    }  # fmt: skip


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    """`model=own` takes a directory; keys of the default model may be switched off by null."""
    directory = build(MINILM).resolve(tmp_path).path
    own = yaml.safe_load((ROOT / "conf/model/own.yaml").read_text(encoding="utf-8"))
    assert build(own | {"path": str(directory), "name": "mine"}).resolve(tmp_path).path == directory
    without = PretrainedModel(**_fields(hub=None, bundled=None, digests=None, path=str(directory)))
    assert without.resolve(tmp_path).path == directory


def test_resolving_imports_no_torch(tmp_path: Path) -> None:
    """The coordinator resolves models without paying for torch."""
    code = (
        "import sys, yaml\nfrom harness.config.instantiate import build\n"
        f"build(yaml.safe_load(open({str(ROOT / 'conf/model/minilm.yaml')!r}))).resolve({str(tmp_path)!r})\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_digest_is_the_same_from_every_source(resolved: ResolvedModel, tmp_path: Path) -> None:
    """A copy of the same files has the package's digest; with changed weights it is another model, by name, too."""
    shutil.copytree(resolved.path, tmp_path / "copy")
    copied = PretrainedModel(**_fields(path=str(tmp_path / "copy"))).resolve(tmp_path)
    assert copied.digest == resolved.digest and copied.source.startswith("path")
    with (tmp_path / "copy" / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\1\2\3")
    with pytest.raises(HarnessError, match=r"not the model that model=minilm names: model\.safetensors has sha256"):
        PretrainedModel(**_fields(path=str(tmp_path / "copy"))).resolve(tmp_path)
    other = PretrainedModel(name="mine", path=str(tmp_path / "copy")).resolve(tmp_path)
    assert other.digest != PretrainedModel(name="mine", path=str(resolved.path)).resolve(tmp_path).digest


def test_local_cache_comes_before_the_package(
    resolved: ResolvedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole snapshot in the hub's local cache is used; half of one is not."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    snapshot = repository / "snapshots" / MINILM["revision"]
    shutil.copytree(resolved.path, snapshot)
    found = build(MINILM).resolve(tmp_path)
    assert found.path == snapshot and found.digest == resolved.digest and MINILM["revision"] in found.source
    (snapshot / "model.safetensors").unlink()
    assert build(MINILM).resolve(tmp_path).source.startswith("package")


def test_package_with_other_files_is_refused(tmp_path: Path) -> None:
    """The package is used only if every digest matches; without known digests it is not used at all."""
    wrong = PretrainedModel(**_fields(hub=None, digests=MINILM["digests"] | {"config.json": "0" * 64}))
    with pytest.raises(HarnessError, match=r"is not the model that model=minilm names: config.json has sha256"):
        wrong.resolve(tmp_path)
    with pytest.raises(HarnessError, match=r"needs model.digests"):
        PretrainedModel(**_fields(hub=None, digests={})).resolve(tmp_path)


def test_model_out_of_reach_names_the_ways_to_get_it(tmp_path: Path) -> None:
    """Without cache, hub and package the error names three ways, within seconds."""
    start = time.monotonic()
    with pytest.raises(HarnessError) as raised:
        PretrainedModel(
            **_fields(bundled="package_that_is_not_there", hub="someone/model-that-is-not-there", digests_of=None)
        ).resolve(tmp_path)
    assert time.monotonic() - start < 6
    message = str(raised.value)
    assert "hf download someone/model-that-is-not-there --revision 1110a243" in message
    assert "model.path" in message and "pip install package-that-is-not-there" in message


def test_hub_that_does_not_answer_costs_seconds(tmp_path: Path) -> None:
    """Without HF_HUB_OFFLINE and with a hub that swallows connections, resolving ends within six seconds."""
    code = (
        "import time, socket\nfrom harness.models import PretrainedModel\nfrom harness.errors import HarnessError\n"
        "start = time.monotonic()\n"
        "try:\n    PretrainedModel(name='x', hub='a/b').resolve('.')\n"
        "except HarnessError as error:\n    assert 'does not answer' in str(error)\n"
        "assert time.monotonic() - start < 6\n"
    )
    # 192.0.2.0/24 is reserved for documentation: nothing answers there.
    environment = {"PATH": "", "HF_ENDPOINT": "http://192.0.2.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "is not a directory"),
        ([], "it has no config.json"),
        (["config.json", "tokenizer.json"], r"it has no \*.safetensors"),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], "pickled weights are never loaded"),
        (["config.json", "model.safetensors"], "has no tokenizer"),
    ],
)
def test_path_that_is_not_a_model(files: list[str] | None, message: str, tmp_path: Path) -> None:
    """A path that is not a model says what is missing."""
    directory = tmp_path / "model"
    if files is not None:
        directory.mkdir()
        for name in files:
            (directory / name).write_text("{}")
    with pytest.raises(HarnessError, match=message):
        PretrainedModel(name="mine", path=str(directory)).resolve(tmp_path)


def test_wrong_fields_are_told_together() -> None:
    """An unknown pooling, a length of 0 and no source are three messages of one error."""
    with pytest.raises(HarnessError) as raised:
        PretrainedModel(name="mine", pooling="men", max_tokens=0)
    assert len(raised.value.problems) == 3 and "Did you mean mean" in raised.value.problems[0]


def test_pooling() -> None:
    """Mean averages the tokens under the mask; cls takes the first; last takes the last that is not padding."""
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool(hidden, mask, "mean").tolist() == [[1.0, 2.0], [8.0, 9.0]]
    assert pool(hidden, mask, "cls").tolist() == [[0.0, 1.0], [6.0, 7.0]]
    assert pool(hidden, mask, "last").tolist() == [[2.0, 3.0], [10.0, 11.0]]
    left = torch.tensor([[0, 1, 1], [1, 1, 1]])
    assert pool(hidden, left, "cls").tolist() == [[2.0, 3.0], [6.0, 7.0]]
    assert pool(hidden, left, "last").tolist() == [[4.0, 5.0], [10.0, 11.0]]


def test_features_are_sentence_transformers_vectors(resolved: ResolvedModel, backbone: nn.Module) -> None:
    """Mean-pooled normalised features equal those of the library that the model was made with, near 1e-5."""
    library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    texts = ["where is my card?", "a much longer sentence, to be padded against, about nothing at all", "hello"]
    expected = library.SentenceTransformer(str(resolved.path), device="cpu").encode(texts, normalize_embeddings=True)
    with torch.no_grad():
        values = AdaptedModel(backbone, "mean", 2).eval().features(batch(resolved, texts))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-5)


def test_head_acts_on_twenty_times_the_features(resolved: ResolvedModel, backbone: nn.Module) -> None:
    """Logits are weight @ (20 x features) + bias."""
    network = AdaptedModel(backbone, "mean", 2).eval()
    weight, bias = np.random.default_rng(0).normal(size=(2, 384)).astype(np.float32), np.array([1.0, -1.0], np.float32)
    network.set_head(weight, bias)
    inputs = batch(resolved, ["one text", "and another one"])
    with torch.no_grad():
        np.testing.assert_allclose(
            network(inputs).numpy(), 20 * network.features(inputs).numpy() @ weight.T + bias, atol=1e-4
        )


def test_dropout_is_set_everywhere_in_the_backbone(resolved: ResolvedModel, backbone: nn.Module) -> None:
    """With dropout 0 the backbone in training mode computes what it computes in eval mode; with 0.5 it does not."""
    inputs = batch(resolved, ["a text to be computed twice"])
    outputs = {}
    for probability in (0.0, 0.5):
        network = AdaptedModel(copy.deepcopy(backbone), "mean", 2)
        network.set_dropout(probability)
        with torch.no_grad():
            outputs[probability] = network.train().features(inputs), network.eval().features(inputs)
    assert torch.equal(*outputs[0.0]) and not torch.allclose(*outputs[0.5], atol=1e-2)


def test_architectures_own_head(resolved: ResolvedModel) -> None:
    """With pooling `model` the architecture's last layer is the head; its pooler is not part of it."""
    network = AdaptedModel(load_backbone(resolved, "model", 5), "model", 5).eval()
    assert {name for name, _ in network.head_parameters()} == {
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    }
    assert any("pooler" in name for name, _ in network.named_parameters())
    with torch.no_grad():
        assert network(batch(resolved, ["text"])).shape == (1, 5)


def test_longest_input(resolved: ResolvedModel, backbone: nn.Module) -> None:
    """MiniLM takes 512 tokens; a RoBERTa of 514 positions does too."""
    tokenizer = load_tokenizer(resolved)
    assert longest_input(backbone, tokenizer) == 512
    from transformers import RobertaConfig, RobertaModel

    small: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    roberta = RobertaModel(RobertaConfig(vocab_size=50, max_position_embeddings=514, pad_token_id=1, **small))
    tokenizer.model_max_length = 10**30
    assert longest_input(roberta, tokenizer) == 512


@pytest.mark.parametrize(
    "kind", ["8bit", pytest.param("4bit", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
)
def test_quantized_base_carries_an_adapter(kind: str, resolved: ResolvedModel, tmp_path: Path) -> None:
    """Few bits keep the vectors, LoRA trains on them, and the digest is another one."""
    model = PretrainedModel(**_fields(quantize=kind))
    few = model.resolve(tmp_path)
    assert few.digest != resolved.digest
    inputs = batch(resolved, ["where is my card?", "a refund"])
    network = AdaptedModel(load_backbone(few, "mean", 0), "mean", 2)
    whole = AdaptedModel(load_backbone(resolved, "mean", 0), "mean", 2)
    with torch.no_grad():
        alike = (network.features(inputs) * whole.features(inputs)).sum(dim=-1)
    assert alike.min() > 0.95
    method = yaml.safe_load((ROOT / "conf/method/lora.yaml").read_text(encoding="utf-8"))["method"]
    model.check_method(method)
    build(method).adapt(network, model, 10)
    network.train()(inputs)[:, 0].sum().backward()
    assert all(p.grad is not None for p in network.trainable().values())


def test_quantized_base_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that changes weights is refused, and so is everything where the library is missing."""
    model = PretrainedModel(**_fields(quantize="4bit"))
    for name in ("full", "pissa", "setfit"):
        with pytest.raises(HarnessError, match=f"method={name} cannot train"):
            model.check_method(yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text("utf-8"))["method"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(HarnessError, match="4bit needs a CUDA GPU"):
        load_backbone(model.resolve(tmp_path), "mean", 0)
    monkeypatch.setattr("harness.models.pretrained.importlib.util.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match="needs bitsandbytes"):
        model.resolve(tmp_path)
    with pytest.raises(HarnessError, match=r"model\.quantize cannot be 3bit"):
        PretrainedModel(**_fields(quantize="3bit"))


def _fields(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (MINILM | changes).items() if key != "kind"}
