"""Packed rows: the same losses and gradients as unpacked ones, on every decoder that may pack."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.schema import TrainConfig
from harness.models.architectures import PACKED
from harness.models.language.language_model import LanguageModel
from harness.models.language.packing import bins
from harness.training.loop import fit
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import WINDOW
from tests.tasks.text_generation.test_training import CPU, RUNTIME, examples, session

Main = Callable[..., tuple[int, str]]


def test_bins_hold_every_row_once() -> None:
    """None is above its capacity, but for a row that is so alone."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 30, 50)
    lengths[7] = 70
    found = bins(lengths, 40)
    assert sorted(row for rows in found for row in rows) == list(range(50))
    sums = [int(lengths[rows].sum()) for rows in found]
    assert max(sum_ for sum_, rows in zip(sums, found, strict=True) if rows != [7]) <= 40 and [7] in found
    assert len(found) <= 1 + 1.25 * lengths.sum() / 40


@pytest.mark.parametrize("kind", PACKED)
def test_losses_and_gradients_are_equal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, with windows of attention that are shorter than the sequences."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # norms of transformers round to float32
    softmax = torch.nn.functional.softmax  # so does its attention with capped scores
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda scores, dim, **_: softmax(scores, dim))
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, False, 12)
    network = LanguageModel(tiny_writers.of_architecture(kind, tokens, torch.float64))
    chosen = np.arange(12)
    found = []
    for each in (rows, replace(rows, packed=60)):
        outputs = network(each.batch(chosen, CPU))
        loss = RUNTIME.loss(outputs, torch.empty(0), 0.0)
        gradients = torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad])
        found.append((loss, outputs[:, 1].sum(), gradients))
    batch = replace(rows, packed=60).batch(chosen, CPU)
    assert batch["input_ids"].shape[0] < 12 and batch["input_ids"].shape[1] > WINDOW
    (plain, count, wanted), (packed, joined, got) = found
    assert count == joined
    torch.testing.assert_close(plain, packed, rtol=0, atol=1e-9)
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_a_training_ends_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a step are the same, also with accumulation."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, False)
    model = tiny_writers.decoder(tokens, torch.float64)
    ends = []
    for packing in (False, True):
        config = TrainConfig(batch_size=4, accumulate=2, epochs=2, packing=packing)
        mine = session(LanguageModel(copy.deepcopy(model)), RUNTIME.trained_on(rows, config, 64), 2, config=config)
        fit([mine])
        assert mine.failure is None
        ends.append(mine)
    plain, packed = ends
    assert plain.progress.train_loss == pytest.approx(packed.progress.train_loss, abs=1e-9)
    for one, other in zip(plain.network.parameters(), packed.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some prompts and completions."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = [f"{one} {other},{other}" for one in tiny_writers.WORDS for other in tiny_writers.WORDS[:4]]
    path.write_text("\n".join(["prompt,completion", *lines]), encoding="utf-8")
    return path


def test_a_run_packs(rows: Path, tmp_path: Path, main: Main) -> None:
    """From the command line."""
    model = tiny_writers.saved(tmp_path / "model", tiny_writers.decoder)
    code, printed = main(
        "task=text_generation", f"task.path={rows}", "task.prompt=prompt", "task.completion=completion",
        "task.name=mine", "task.max_length=40", "task.generate.max_new_tokens=3", "model=own", f"model.path={model}",
        "model.name=tiny", "device=cpu", "train.packing=true", "train.epochs=1",
    )  # fmt: skip
    assert code == 0, printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method=prompt_tuning",), "puts virtual tokens before each sequence"),
        (("train.fgm=0.1",), "train.packing=true joins rows: leave one out"),
        (("model.path={t5}",), "is not known to keep them apart"),
        (("task=demo",), "train.packing=true has no meaning for task=demo"),
    ],
)
def test_what_cannot_pack_is_refused(
    arguments: tuple[str, ...], told: str, rows: Path, tmp_path: Path, main: Main
) -> None:
    """Before any compute."""
    make: Any = tiny_writers.encoder_decoder if "{t5}" in arguments[0] else tiny_writers.decoder
    model = tiny_writers.saved(tmp_path / "model", make)
    if "task=demo" in arguments:
        given = ["task=demo"]
    else:
        given = [
            "task=text_generation", f"task.path={rows}", "task.prompt=prompt", "task.completion=completion",
            "task.name=mine", "model=own", "model.name=tiny", f"model.path={model}",
            *(each for each in arguments if "{t5}" not in each),
        ]  # fmt: skip
    code, printed = main(*given, "train.packing=true", "device=cpu")
    assert code == 2 and told in " ".join(printed.split()) and "Traceback" not in printed, printed
