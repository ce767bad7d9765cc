"""What lies in a model's directory is told before anything is loaded, in words that say what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from harness.errors import HarnessError, typed
from harness.models import PretrainedModel
from tests.helpers import own_model

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right; shared, so tests spoil copies."""
    return own_model.write(tmp_path_factory.mktemp("own") / "bert")


@pytest.fixture(scope="module")
def sharded(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in several files of weights."""
    directory = own_model.copy(whole, tmp_path_factory.mktemp("own") / "sharded")
    (directory / "model.safetensors").unlink()
    BertModel.from_pretrained(whole, add_pooling_layer=False).save_pretrained(directory, max_shard_size="30KB")
    assert len(shards(directory)) > 1
    return directory


def shards(directory: Path) -> list[Path]:
    """Its files of weights."""
    return sorted(directory.glob("*-of-*.safetensors"))


def refused(directory: Path | str) -> str:
    """What resolving a path says."""
    with pytest.raises(HarnessError) as raised:
        PretrainedModel(name="mine", path=str(directory)).resolve(Path(directory).parent)
    return str(raised.value)


def _cut(file: Path, bytes_: int) -> None:
    file.write_bytes(file.read_bytes()[:bytes_])


def _rename(directory: Path, name: str) -> None:
    (directory / "model.safetensors").rename(directory / name)


def _quantized(directory: Path) -> None:
    held = own_model.weights(directory)
    name = "bert.encoder.layer.0.output.dense.weight"
    own_model.put(directory, held | {name: held[name].to(torch.int8)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "model.safetensors").write_text(LFS), "model.safetensors is a Git LFS pointer.*git lfs pull"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "model.safetensors is empty"),
        (lambda d: (d / "model.safetensors").write_text("<!DOCTYPE html><html>x</html>"), "is a web page"),
        (lambda d: torch.save({}, d / "model.safetensors"), "is a ZIP archive or a pickle"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\1" * 99), "is not a safetensors file, or damaged"),
        (lambda d: _cut(d / "model.safetensors", 60_000), r"is cut short \(60,000 of [0-9,]+ bytes\)"),
        (lambda d: _cut(d / "model.safetensors", 100), r"is cut short \(100 of "),
        (lambda d: own_model.put(d, {}), "holds no tensors"),
        (_quantized, r"quantized weights \(bert\.encoder\.layer\.0\.output\.dense\.weight; I8\)"),
        (lambda d: own_model.configure(d, quantization_config={"quant_method": "gptq"}), r"quantized before \(gptq\)"),
        (lambda d: own_model.configure(d, model_type=None), "config.json names no model_type"),
        (lambda d: (d / "config.json").write_text('{"model_type": "bert",'), "config.json is not JSON"),
        (lambda d: (d / "config.json").write_text("[" * 20_000), "config.json is not JSON"),
        (lambda d: (d / "config.json").write_text("[]"), "config.json names no model_type"),
        (lambda d: (d / "config.json").write_text(LFS), "config.json is a Git LFS pointer"),
        (lambda d: (d / "tokenizer.json").write_text(LFS), "tokenizer.json is a Git LFS pointer"),
        (lambda d: (d / "tokenizer.json").write_text(""), "tokenizer.json is empty"),
        (lambda d: _rename(d, "x.gguf"), r"has x\.gguf, made for llama\.cpp"),
        (lambda d: _rename(d, "tf_model.h5"), "made for TensorFlow"),
        (lambda d: _rename(d, "model.ckpt"), "pickled weights are never loaded"),
        (lambda d: _rename(d, "weights.safetensors"), r"under the name model\.safetensors, and it has weights\.safe"),
        (lambda d: (d / "adapter_config.json").write_text("{}"), "beside it a PEFT adapter"),
        (lambda d: (d / "harness.json").write_text("{}"), "what a run saved for harness.predict"),
    ],
)
def test_spoilt_files(spoil: Callable[[Path], object], message: str, whole: Path, tmp_path: Path) -> None:
    """Each fault of a file is one sentence that names the file."""
    directory = own_model.copy(whole, tmp_path / "model")
    spoil(directory)
    with pytest.raises(HarnessError, match=message) as raised:
        PretrainedModel(name="mine", path=str(directory)).resolve(tmp_path)
    assert len(raised.value.problems) == 1


def test_shards(sharded: Path, tmp_path: Path) -> None:
    """Every file that the index names has to be there, and whole."""
    assert PretrainedModel(name="mine", path=str(sharded)).resolve(tmp_path).path == sharded
    lacks = own_model.copy(sharded, tmp_path / "lacks")
    shards(lacks)[1].unlink()
    assert f"it lacks 1: {shards(sharded)[1].name}" in refused(lacks)
    half = own_model.copy(sharded, tmp_path / "half")
    _cut(shards(half)[0], shards(half)[0].stat().st_size - 9)
    assert f"{shards(half)[0].name} is cut short" in refused(half)
    moved = own_model.copy(sharded, tmp_path / "moved")
    shutil.copy(shards(moved)[0], shards(moved)[1])
    assert "that model.safetensors.index.json lists for it" in refused(moved)
    for content in ("{}", '{"weight_map": {}}', '{"weight_map": []}', "x", LFS):
        (moved / "model.safetensors.index.json").write_text(content)
        assert "model.safetensors.index.json" in refused(moved)
    (moved / "model.safetensors.index.json").unlink()
    assert "but no model.safetensors.index.json" in refused(moved)


def test_other_places(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be written in any way; a file, a folder above and a repository's name say what was meant."""
    monkeypatch.chdir(whole.parent)
    monkeypatch.setenv("HOME", str(whole.parent))
    (whole.parent / "link").symlink_to(whole)
    digests = {
        PretrainedModel(name="mine", path=path).resolve(tmp_path).digest
        for path in ("bert", "bert/", "./bert", "~/bert", str(whole), "link", "../" + whole.parent.name + "/bert")
    }
    assert len(digests) == 1
    assert f"is a file. Name the directory that holds it, config.json and the tokenizer: {whole}" in refused(
        whole / "model.safetensors"
    )
    own_model.copy(whole, tmp_path / "pipeline" / "0_Transformer")  # as sentence-transformers saves
    assert f"Did you mean {tmp_path / 'pipeline' / '0_Transformer'}?" in refused(tmp_path / "pipeline")
    own_model.copy(whole, tmp_path / "models--a--b" / "snapshots" / "0123")
    assert "snapshots/0123?" in refused(tmp_path / "models--a--b")
    assert "For a repository of the hub: model.hub=google/bert" in refused("google/bert")
    for nowhere in ("~nobody/model", "x" * 5000, "a\0b"):
        assert "model.path=" in refused(nowhere)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be read (Permission denied)" in refused(whole)


def test_adapter_is_no_model(tmp_path: Path) -> None:
    """A PEFT adapter says so, and what it adapts."""
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "google-bert/bert-base-uncased"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    message = refused(tmp_path)
    assert "is a PEFT adapter of google-bert/bert-base-uncased, not a model. Merge it" in message


def test_cached_snapshot_that_is_not_whole(sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a snapshot in the hub's cache that lacks a file it is told which, not that there is none."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--a--b"
    snapshot = own_model.copy(sharded, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    model = PretrainedModel(name="mine", hub="a/b")
    assert model.resolve(tmp_path).path == snapshot
    (lost := shards(snapshot)[1]).unlink()
    with pytest.raises(HarnessError, match=rf"a/b in the local cache cannot be used: .*it lacks 1: {lost.name}"):
        model.resolve(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hub": "other/repo"}, r"model=own model\.hub=other/repo model\.name=mine"),
        ({"hub": "other/repo", "revision": "main"}, r"model=own model\.hub=other/repo model\.revision=main model"),
        ({"revision": "main"}, "its digests are those of revision 0123"),
        ({"revision": None}, "its digests are those of revision 0123"),
    ],
)
def test_pins_belong_to_their_source(change: dict[str, str | None], message: str, tmp_path: Path) -> None:
    """Digests and a package that were pinned for one repository never stand for another, whatever is within reach."""
    pinned = {"hub": "good/repo", "revision": "0123", "digests_of": "good/repo@0123", "bundled": "json"}
    with pytest.raises(HarnessError, match=message):
        PretrainedModel(name="pinned", digests={"config.json": "0" * 64}, **pinned | change).resolve(tmp_path)  # type: ignore[arg-type]  # all are text


def test_typed() -> None:
    """A value is written so that shell and Hydra read it as it is."""
    import shlex

    from hydra.core.override_parser.overrides_parser import OverridesParser

    for value in ("/a/b", "a b (1)", "d\u00e9j\u00e0", "it's", 'say "x"', "a=b,c"):
        (word,) = shlex.split(typed("model.path", value))
        assert OverridesParser.create().parse_override(word).value() == value
