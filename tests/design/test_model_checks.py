"""Layers that a method names are those of the architecture as it is loaded, not of the weights files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.design.test_value_checks import PLAN, assert_told
from tests.helpers import own_model, tiny_writers

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with a decoder, of which classification uses the encoder alone."""
    return tiny_writers.saved(tmp_path_factory.mktemp("t5"), tiny_writers.encoder_decoder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose files begin names with `bert.`."""
    return own_model.write(tmp_path_factory.mktemp("own") / "bert")


def own(path: Path) -> tuple[str, ...]:
    """A study of LoRA on a model of one's own."""
    return ("-m", "method=lora", "model=own", "model.name=mine", f"model.path={path}", *PLAN)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("method.config.target_modules=[q,EncDecAttention]", "model=mine has no layer EncDecAttention."),
        ("method.config.target_modules=[decoder.block.0.layer.0.SelfAttention.q]", "no layer decoder.block.0"),
        ("method.config.target_modules=[q],[lm_head]", "no layer lm_head."),
        ('method.config.target_modules=".*decoder.*\\.q"', "as a regular expression this fits no layer of model=mine"),
        ("method.config.target_modules=q", "For layers of this name: 'method.config.target_modules=[q]'"),
        ('method.config.target_modules="(q"', "this is no regular expression"),
        ("+model.target_modules=[nope]", "model.target_modules=[nope]: model=mine has no layer nope."),
        ("+method.config.exclude_modules=[w0]", "method.config.exclude_modules=[w0]: model=mine has no layer w0."),
        ("+method.config.layers_to_transform=[0,2]", "model=mine has 2 blocks, 0 to 1, and none is 2."),
    ],
)
def test_layers_of_the_files_alone_are_told(main: Main, place: Path, t5: Path, line: str, says: str) -> None:
    """The decoder of T5 is not loaded for classification, and neither is its head."""
    extra = ("method.config.target_modules=null",) if line.startswith("+model.") else ()
    assert says in assert_told(main, place, *own(t5), line, *extra)


@pytest.mark.parametrize(
    "value", ["[q,v]", "[SelfAttention.q,wo]", '".*SelfAttention\\.(q|v)"', "[block.0.layer.0.SelfAttention.q]"]
)
def test_layers_of_the_encoder_pass(main: Main, place: Path, t5: Path, value: str) -> None:
    """By their ends, in part or whole, and as an expression."""
    code, printed = main(*own(t5), f"method.config.target_modules={value}")
    assert code == 0, printed


def test_names_as_the_files_have_them_are_told(main: Main, place: Path, bert: Path) -> None:
    """A run would train none of them: the encoder is loaded without what its files begin names with."""
    line = "method.config.target_modules=[query,bert.encoder.layer.0.attention.self.key]"
    assert "no layer bert.encoder" in assert_told(main, place, *own(bert), line)
    code, printed = main(*own(bert), line.replace("bert.", ""))
    assert code == 0, printed


def test_a_decoder_that_writes_is_loaded_whole(main: Main, place: Path, t5: Path) -> None:
    """For a task of texts, the same names fit."""
    (place / "rows.csv").write_text("prompt,completion\n" + "".join(f"a {n},b {n}\n" for n in range(40)))
    task = ("task=text_generation", "task.path=rows.csv", "task.chat=false", "task.name=texts", "task.metric=loss",
            "task.prompt=prompt", "task.completion=completion")  # fmt: skip
    own_ = (*own(t5)[: -len(PLAN)], "calibrate=false", "plan=true")
    code, printed = main(*own_, *task, "method.config.target_modules=[EncDecAttention.q]")
    assert code == 0, printed
