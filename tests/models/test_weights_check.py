"""No weight of a backbone is random: what does not fit its architecture is told before a study and by every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api.family import families
from harness.errors import HarnessError
from harness.models import PretrainedModel, ResolvedModel
from harness.models.architecture_check import examined
from harness.models.network import AdaptedModel, load_backbone
from tests.helpers import own_model as own
from tests.helpers import tiny_writers

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right; shared, so tests spoil copies."""
    return own.write(tmp_path_factory.mktemp("own") / "bert")


def resolve(directory: Path, **fields: Any) -> tuple[PretrainedModel, ResolvedModel]:
    """A model, resolved."""
    model = PretrainedModel(name="mine", path=str(directory), **fields)
    return model, model.resolve(directory.parent)


def _prefixed(prefix: str) -> Callable[[Path], None]:
    return lambda d: own.put(d, {prefix + name: tensor for name, tensor in own.weights(d).items()})


def _without(part: str) -> Callable[[Path], None]:
    return lambda d: own.put(d, {name: tensor for name, tensor in own.weights(d).items() if part not in name})


def _unmerged(directory: Path) -> None:
    """As `state_dict()` of a model with adapters has it."""
    own.put(directory, {name.replace("query.", "query.base_layer."): t for name, t in own.weights(directory).items()})


def _filled(value: float) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        held = own.weights(directory)
        held["bert.encoder.layer.1.output.dense.weight"][0, 0] = value
        own.put(directory, held)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_prefixed("foo."), r"lack 37 of the 37 tensors.*embeddings\.Lay.* and 34 more\. .*begin with `foo\.bert\.`"),
        (_prefixed("_orig_mod."), r"begin with `_orig_mod\.bert\.`, as of torch\.compile: save"),
        (_prefixed("module."), r"`module\.bert\.`, as of DataParallel"),
        (_prefixed("base_model.model."), r"`base_model\.model\.bert\.`, as of PEFT: save model\.merge_and_unload"),
        (_prefixed("state_dict.model."), r"`state_dict\.model\.bert\.`, as of Lightning"),
        (_prefixed("model."), r"`model\.bert\.`, as of a module around it"),
        (_unmerged, "a PEFT model that was not merged"),
        (_without("layer.1."), r"lack 16 of the 37 tensors.*The file is incomplete, or config\.json describes"),
        (_without("word_embeddings"), r"lack 1 of the 37 tensors.*: embeddings\.word_embeddings\.weight\."),
        (lambda d: own.configure(d, num_hidden_layers=4), "lack 32 of the 69 tensors"),
        (lambda d: own.configure(d, hidden_size=48), r"\(32\) in the file and \(48\) by config\.json.* and \d+ more"),
        (lambda d: own.configure(d, vocab_size=99), r"word_embeddings\.weight is \(16, 32\) in the file and \(99,"),
        (lambda d: own.configure(d, num_attention_heads=5), "cannot be loaded: The hidden size"),
        (lambda d: own.configure(d, hidden_size="32"), "cannot be loaded: .*'hidden_size' expected int, got str"),
        (lambda d: own.configure(d, hidden_act="nope"), "cannot be loaded: there is no 'nope'"),
        (lambda d: own.configure(d, model_type="vit"), r"lack 38 of the 38 tensors .* are of another architecture"),
        (lambda d: own.configure(d, model_type="distilbert"), "weights are of another architecture"),
        (lambda d: own.configure(d, model_type="gpt2"), "lack 28 of the 28 tensors"),
        (lambda d: own.configure(d, model_type="brt"), "model_type=brt. Did you mean bert"),
        (lambda d: own.configure(d, model_type="x_y", auto_map={"AutoModel": "x.Y"}), "code of its own"),
        (lambda d: own.configure(d, model_type="marian"), "needs a text of its own"),
        (_filled(float("nan")), r"NaN or infinite values in 1 of its tensors: \S*encoder\.layer\.1\.output\.dense"),
        (_filled(float("inf")), "no precision or learning rate helps"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(spoil: Callable[[Path], None], message: str, whole: Path, tmp_path: Path) -> None:
    """What was examined before a study and what a run loads are refused alike, in one sentence or two."""
    spoil(directory := own.copy(whole, tmp_path / "model"))
    model, resolved = resolve(directory)
    for refuse in (lambda: examined(model, resolved, tmp_path), lambda: load_backbone(resolved, "mean", 0)):
        with pytest.raises(HarnessError, match=message) as raised:
            refuse()
        assert len(raised.value.problems) == 1 and "\n" not in str(raised.value)


def test_what_is_left_over_is_a_note(whole: Path, tmp_path: Path) -> None:
    """Heads go without a word; layers that config.json does not count, and a model saved as another kind, are noted."""
    assert examined(*resolve(whole), tmp_path).notes == ()
    own.configure(shallow := own.copy(whole, tmp_path / "shallow"), num_hidden_layers=1)
    model, resolved = resolve(shallow)
    for _ in range(2):  # remembered, too
        (note,) = examined(model, resolved, tmp_path).notes
        assert "16 tensors of its files are not used: bert.encoder.layer.1." in note and "and 13 more" in note
    own.configure(kin := own.copy(whole, tmp_path / "kin"), model_type="roberta", pad_token_id=1)
    own.put(kin, {name.replace("bert.", "roberta.", 1): tensor for name, tensor in own.weights(kin).items()})
    assert "is loaded as roberta" in examined(*resolve(kin), tmp_path).notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_types_of_weights(dtype: torch.dtype, whole: Path, tmp_path: Path) -> None:
    """Weights in other types of floats become float32 ones of the same values."""
    directory = own.copy(whole, tmp_path / "model")
    own.put(directory, {name: tensor.to(dtype) for name, tensor in own.weights(whole).items()})
    model, resolved = resolve(directory)
    backbone: Any = load_backbone(examined(model, resolved, tmp_path), "mean", 0)
    expected = own.weights(directory)["bert.embeddings.word_embeddings.weight"].float()
    assert torch.equal(backbone.get_input_embeddings().weight, expected)


def test_heads_may_be_new(whole: Path, tmp_path: Path) -> None:
    """The architecture's own head is drawn by each run, so one for other classes is no fault; missing layers are."""
    from transformers import BertForSequenceClassification

    tuned = own.copy(whole, tmp_path / "tuned")
    BertForSequenceClassification.from_pretrained(whole, num_labels=3).save_pretrained(tuned)
    for directory in (whole, tuned):
        model, resolved = resolve(directory, pooling="model")
        backbone = load_backbone(examined(model, resolved, tmp_path), "model", 2)
        batch = {"input_ids": torch.tensor([[2, 5, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
        assert AdaptedModel(backbone, "model", 2)(batch).shape == (1, 2)
    _without("layer.1.")(tuned)
    with pytest.raises(HarnessError, match="lack 16 of the 41"):
        examined(*resolve(tuned, pooling="model"), tmp_path)
    own.configure(tuned, model_type="fsmt")
    with pytest.raises(HarnessError, match=r"Use model\.pooling=mean, cls or last"):
        examined(*resolve(tuned, pooling="model"), tmp_path)


def test_broken_tokenizers(whole: Path, tmp_path: Path) -> None:
    """A tokenizer that cannot be read is told in the same way."""
    for number, content in enumerate(('{"version": "1.0", "added', "{}", '{"model": {"type": "Nope"}}')):
        directory = own.copy(whole, tmp_path / str(number))
        (directory / "tokenizer.json").write_text(content)
        with pytest.raises(HarnessError, match=r"The tokenizer at .* cannot be loaded"):
            examined(*resolve(directory), tmp_path)
    directory = own.copy(whole, tmp_path / "length")
    (directory / "tokenizer_config.json").write_text('{"model_max_length": "x"}')
    with pytest.raises(HarnessError, match="model_max_length 'x' in its tokenizer_config"):
        examined(*resolve(directory), tmp_path)


def test_before_a_study(
    whole: Path, tmp_path: Path, main: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study and a single run refuse all of it at once and write nothing, in a process without torch as well."""
    spoilt = [own.copy(whole, tmp_path / name) for name in ("spoilt", "cut")]
    _prefixed("_orig_mod.")(spoilt[0])
    (spoilt[1] / "model.safetensors").write_bytes(b"")
    asked = ["task=csv", "task.path=texts.csv", "method=nearest_mean", "calibrate=false", "model=own"]
    rows = [f"a {word} film {number},{word}" for number in range(20) for word in ("good", "bad")]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    code, said = main(*asked, "model.name=a", f"model.path={spoilt[0]}")
    assert code == 2 and said.count("Error:") == 1 and "torch.compile" in said
    code, said = main("-m", *asked, "model.name=a", f"model.path={spoilt[1]}", "plan=true")
    assert code == 2 and said.count("Error:") == 1 and "is empty" in said
    code, said = main(*asked, "model.name=a", f"model.path={whole}", "model.max_tokens=41", "plan=true")
    assert code == 2 and "model.max_tokens=41 is more than model=a reads: 40. Set model.max_tokens=40" in said
    monkeypatch.setattr("harness.models.architecture_check._has_torch", lambda: False)
    code, said = main("-m", *asked, "model.name=a", f"model.path={spoilt[0]}", "plan=true")
    assert code == 2 and said.count("Error:") == 1 and "torch.compile" in said
    assert not (tmp_path / "runs").exists() and not (tmp_path / "reports").exists()


def spoiled_writer(directory: Path, **settings: Any) -> tuple[PretrainedModel, Path]:
    """A tiny decoder that writes texts, with a head that shares the embedding's weights."""
    path = tiny_writers.saved(directory / "writer", tiny_writers.decoder)
    model = PretrainedModel(name="mine", path=str(path)).for_family(families()["text_generation"])
    file = path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return model, path


def test_a_writer_whose_texts_have_no_end_is_told(tmp_path: Path) -> None:
    """Before a study, not by each run."""
    model, _ = spoiled_writer(tmp_path, eos_token=None)
    with pytest.raises(HarnessError, match="has no end token"):
        examined(model, model.resolve(tmp_path), tmp_path)


def test_templates_are_read_before_a_study(tmp_path: Path) -> None:
    """As Jinja; a template that refuses a conversation may be right."""
    model, path = spoiled_writer(tmp_path)
    (path / "chat_template.jinja").write_text("{{ raise_exception('only with a system message') }}")
    assert not examined(model, model.resolve(tmp_path), tmp_path).notes
    (path / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(HarnessError, match="its chat template is no Jinja template"):
        examined(model, model.resolve(tmp_path), tmp_path)


def test_a_prefix_is_told_also_where_the_head_is_not_in_the_files(tmp_path: Path) -> None:
    """The first missing name is that of a head which shares its weights."""
    model, path = spoiled_writer(tmp_path)
    own.put(path, {f"_orig_mod.{name}": tensor for name, tensor in own.weights(path).items()})
    with pytest.raises(HarnessError, match=r"begin with `_orig_mod\.`"):
        examined(model, model.resolve(tmp_path), tmp_path)
