"""Loss and gradients: those of transformers' Trainer on the same batches, with accumulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.schema import TrainConfig
from harness.methods.base import Hooks
from harness.models.language.language_model import LanguageModel
from harness.tasks.text_generation.data import Conversation, Writing, split_of
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.encoding import RowEncoder
from harness.tasks.text_generation.examples import SequenceExamples
from harness.tasks.text_generation.metrics import METRICS
from harness.tasks.text_generation.runtime import TextGenerationRuntime
from harness.training.loop import advance, fit, gradients
from harness.training.session import TrainingSession
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import WORDS

CPU = torch.device("cpu")
RUNTIME = TextGenerationRuntime(Writing(decoding=Decoding(max_new_tokens=4)), "loss")


def examples(tokens: Any, paired: bool, count: int = 24) -> SequenceExamples:
    """Rows of unequal lengths."""
    draw = np.random.default_rng(0)
    rows = [
        Conversation(" ".join(draw.choice(WORDS, draw.integers(1, 6))), " " + " ".join(draw.choice(WORDS, 1 + row % 7)))
        for row in range(count)
    ]
    split = split_of("train", rows, [(row.completion,) for row in rows], range(count))
    encoder = RowEncoder(tokens, paired, Writing(), 200)
    return SequenceExamples(encoder.encode(split), split.targets, tokens.pad_token_id, encoder=encoder, split=split)


def session(network: LanguageModel, rows: SequenceExamples, accumulate: int, **fields: Any) -> TrainingSession:
    """A session before its first step."""
    standard = {
        "config": TrainConfig(batch_size=4, accumulate=accumulate, epochs=1), "task": RUNTIME, "validation": None,
        "metric": METRICS["loss"], "hooks": Hooks(), "seed": 0, "device": CPU, "say": lambda line: None,
    }  # fmt: skip
    return TrainingSession(network=network, train=rows, **standard | fields)


@pytest.mark.parametrize(
    ("make", "paired", "accumulate"),
    [(tiny_writers.decoder, False, 3), (tiny_writers.encoder_decoder, True, 1)],
    ids=["decoder", "encoder-decoder"],
)
def test_loss_and_gradients_are_those_of_trainer(
    make: Any, paired: bool, accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, over batches with different numbers of trained tokens."""
    from transformers import Trainer, TrainingArguments

    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # transformers rounds logits to float32
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, paired)
    network = LanguageModel(make(tokens, torch.float64))
    mine = session(network, rows, accumulate)
    batches = []
    total = 0.0
    for part in range(accumulate):
        batches.append(rows.batch(mine.next_rows(), CPU))
        weight = rows.weight(mine.next_rows())
        [(_, loss)] = gradients(mine)
        total += loss * weight
        if part + 1 < accumulate:
            assert not advance(mine, loss)
    found = {name: p.grad.clone() for name, p in network.backbone.named_parameters() if p.grad is not None}

    model = make(tokens, torch.float64).train()
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], gradient_accumulation_steps=accumulate
    )
    trainer = Trainer(model=model, args=arguments)
    trainer.current_gradient_accumulation_steps = accumulate
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    assert len(set(counts)) == accumulate
    losses = [trainer.training_step(model, dict(batch), torch.tensor(sum(counts))) for batch in batches]
    assert total / sum(counts) == pytest.approx(float(sum(losses)), abs=1e-9)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(found)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-9)


def test_a_row_without_a_trained_token_changes_nothing() -> None:
    """A step of such rows alone has no loss and no gradient."""
    tokens = tiny_writers.tokenizer()
    rows = [Conversation("food " * 30, "good"), Conversation("shop " * 30, "cheap")]
    split = split_of("train", rows, [(row.completion,) for row in rows], range(2))
    encoder = RowEncoder(tokens, False, Writing(), 16)
    cut = SequenceExamples(encoder.encode(split), split.targets, tokens.pad_token_id, encoder=encoder, split=split)
    assert cut.trained.tolist() == [0, 0] and cut.tokens.truncated == 2
    mine = session(LanguageModel(tiny_writers.decoder(tokens)), cut, 1)
    [(_, loss)] = gradients(mine)
    assert loss == 0 and all(p.grad is None or not p.grad.any() for p in mine.network.parameters())


@pytest.mark.parametrize(("make", "paired"), [(tiny_writers.decoder, False), (tiny_writers.encoder_decoder, True)])
def test_predictions_do_not_depend_on_their_batch(make: Any, paired: bool) -> None:
    """Likelihoods and texts of rows of unequal lengths, one by one and together; and a checkpoint keeps them."""
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, paired, 9)
    written = SequenceExamples(
        rows.tokens, rows.targets, rows.padding, encoder=rows.encoder, split=rows.split, written=True
    )
    network = LanguageModel(make(tokens, torch.float64)).eval()
    together = RUNTIME.predict(network, written, 9, CPU, "fp32")
    alone = RUNTIME.predict(network, written, 1, CPU, "fp32")
    assert together["text"].tolist() == alone["text"].tolist()
    np.testing.assert_allclose(together["nll"], alone["nll"], rtol=1e-6)
    np.testing.assert_array_equal(together["tokens"], rows.trained)
    again = RUNTIME.unpacked(RUNTIME.packed(together))
    assert again.tolist() == together.tolist()


def test_a_stopped_session_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """Weights, best epoch and its texts, over a checkpoint within the second epoch."""
    tokens = tiny_writers.tokenizer()
    rows = examples(tokens, False)
    judged = replace(rows, written=True)
    runtime = replace(RUNTIME, metric="exact_match")

    def begin(checkpoint: Path | None) -> TrainingSession:
        return session(
            LanguageModel(tiny_writers.decoder(tokens)), rows, 1, task=runtime, validation=judged,
            metric=METRICS["exact_match"], config=TrainConfig(batch_size=4, epochs=2, lr=3e-3),
            checkpoint_path=checkpoint,
        )  # fmt: skip

    whole = begin(None)
    fit([whole])
    first = begin(tmp_path / "all.safetensors")
    fit([first], interrupted=lambda: first.progress.step == 8)
    assert first.status == "stopped" and first.progress.epoch == 1
    second = begin(tmp_path / "all.safetensors")
    fit([second])
    assert second.status == whole.status == "done" and second.progress.resumes == 1
    assert second.progress.best_val == whole.progress.best_val
    assert second.best_predictions is not None and whole.best_predictions is not None
    assert second.best_predictions.tolist() == whole.best_predictions.tolist()
    for one, other in zip(second.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("make", "paired"), [(tiny_writers.decoder, False), (tiny_writers.encoder_decoder, True)])
def test_the_likeliest_choice_is_taken(make: Any, paired: bool) -> None:
    """The log likelihood of each choice is that of its tokens as a completion, its end token left out."""
    tokens = tiny_writers.tokenizer()
    network = LanguageModel(make(tokens, torch.float64)).eval()
    choices = ("good", "cheap food", "river")
    rows = [Conversation(f"{word} is ", "good", choices) for word in WORDS[:5]]
    split = split_of("test", rows, [("good",)] * 5, range(5))
    encoder = RowEncoder(tokens, paired, Writing(), 200)
    judged = SequenceExamples(
        encoder.encode(split), split.targets, tokens.pad_token_id, encoder=encoder, split=split, written=True
    )
    found = RUNTIME.predict(network, judged, 5, CPU, "fp32")
    for row, record in zip(rows, found, strict=True):
        for choice, value in record["choices"]:
            [(context, written)] = encoder.candidates([Conversation(row.prompt, "", (choice,))])[0]
            assert tokens.decode(written).strip() == choice
            ids, labels = torch.tensor([context]), torch.tensor([written])
            with torch.no_grad():
                if paired:
                    logits = network.backbone(input_ids=ids, labels=labels).logits[0]
                else:
                    whole = torch.cat([ids, labels], dim=1)
                    logits = network.backbone(input_ids=whole).logits[0, len(context) - 1 : -1]
            wanted = logits.log_softmax(-1).gather(1, labels.T).sum()
            assert value == pytest.approx(float(wanted), abs=1e-4)
        assert record["text"] == max(record["choices"], key=lambda pair: pair[1])[0]
    assert RUNTIME.unpacked(RUNTIME.packed(found)).tolist() == found.tolist()
