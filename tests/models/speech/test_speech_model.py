"""Recognizers of speech: losses and outputs are those of transformers; methods adapt encoder and decoder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.sounds import ArraySound
from harness.models.network import load_backbone, load_tokenizer
from harness.models.sound_files.sound_pooling import SAMPLES
from harness.models.speech.speech_model import LABELS, SpeechModel
from harness.models.speech.transcription import transcribe
from harness.tasks.speech_recognition.examples import SpeechExamples
from harness.tasks.speech_recognition.runtime import SpeechRecognitionRuntime
from harness.tasks.text_generation.data import Conversation, split_of
from tests.helpers.tiny_sounds import RATE, waveforms
from tests.helpers.tiny_speech import KINDS, recognizer, speech, write_speech
from tests.models.sounds.test_sound_model import method

CPU = torch.device("cpu")
SECONDS = (0.4, 0.9, 0.7, 1.2)
SAID = ("one two", "three", "four four", "two")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("speech")
    return {kind: write_speech(kind, root / kind) for kind in KINDS}


def network(directory: Path) -> SpeechModel:
    model = recognizer(directory)
    return SpeechModel(load_backbone(model.resolve(directory), model.pooling, 2)).eval()


def examples(directory: Path, made: SpeechModel, **changes: Any) -> SpeechExamples:
    names = [f"sound {place}" for place in range(len(SECONDS))]
    sounds = dict(zip(names, (ArraySound(each, RATE) for each in waveforms(SECONDS)), strict=True))
    runtime = SpeechRecognitionRuntime._of(speech(**changes), sounds, {})
    split = split_of(
        "test", [Conversation(*each) for each in zip(names, SAID, strict=True)], [(each,) for each in SAID], range(4)
    )
    processor = load_tokenizer(recognizer(directory).resolve(directory))
    tokens = runtime.encoding(processor, made.backbone, 20).encode(split)
    return runtime.examples(tokens, split, processor, made.backbone)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_depend_on_their_batch(models: dict[str, Path], kind: str) -> None:
    made = network(models[kind])
    rows = examples(models[kind], made)
    with torch.no_grad():
        together = made(rows.batch(np.arange(4), CPU))
        alone = torch.cat([made(rows.batch(np.array([row]), CPU)) for row in range(4)])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert together[:, 1].tolist() == [len(each) for each in rows.labels] and (together[:, 0] > 0).all()
    assert rows.weight(np.arange(4)) == sum(map(len, rows.labels))


def test_whisper_is_that_of_transformers(models: dict[str, Path]) -> None:
    """Over its whole window, losses and greedy outputs are those of transformers."""
    from transformers import WhisperForConditionalGeneration

    directory = models["whisper"]
    made = network(directory)
    rows = examples(directory, made, window=3.0)
    batch = rows.batch(np.arange(4), CPU)
    own: Any = WhisperForConditionalGeneration.from_pretrained(directory).eval()
    assert rows.encoder is not None
    prefix = rows.encoder.prefix
    with torch.no_grad():
        expected = own(
            input_features=batch["sound"], decoder_input_ids=batch["decoder_input_ids"], labels=batch["labels"]
        ).loss
        found = made(batch).sum(dim=0)
        states = own.get_encoder()(batch["sound"])
    assert torch.allclose(found[0] / found[1], expected, atol=1e-5)
    written = transcribe(made, batch, prefix, 12)
    ends = own.config.eos_token_id
    for row, each in enumerate(written):
        ids = torch.tensor([prefix])
        for _ in range(12):  # without a cache, one row at a time
            logits = own(encoder_outputs=(states.last_hidden_state[row : row + 1],), decoder_input_ids=ids).logits
            token = int(logits[0, -1].argmax())
            if token == ends:
                break
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        assert each.tokens == ids[0, len(prefix) :].tolist() and each.cut == (len(each.tokens) == 12)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_ctc_is_that_of_transformers(models: dict[str, Path], kind: str) -> None:
    """The loss of a row is that of the architecture, the output what its tokenizer makes of the likeliest tokens."""
    from transformers import AutoModelForCTC

    made = network(models[kind])
    rows = examples(models[kind], made)
    own: Any = AutoModelForCTC.from_pretrained(models[kind]).eval()
    own.config.ctc_loss_reduction = "sum"
    assert rows.encoder is not None
    for row in range(4):
        batch = rows.batch(np.array([row]), CPU)
        inputs = next(inputs for _, inputs in made.inputs_by_window(batch))
        mask = (torch.arange(inputs["input_values"].shape[1])[None] < batch[SAMPLES][:, None]).long()
        with torch.no_grad():
            expected = own(input_values=inputs["input_values"], attention_mask=mask, labels=batch[LABELS]).loss
            logits = own(**inputs).logits
            found = made(batch)[0, 0]
        if kind == "wav2vec2-masked":  # the others are given no mask, and transformers needs one for its lengths
            assert torch.allclose(found, expected, rtol=1e-4)
        count = int(made.frames(batch[SAMPLES], logits.shape[1]))
        (written,) = transcribe(made, batch, [], 12)
        # The tokenizer would leave special tokens out before it joins repetitions; those of CTC are joined first.
        expected = re.sub(r"<[a-z/]+>", "", rows.encoder.tokenizer.decode(logits[0, :count].argmax(-1)))
        assert rows.encoder.text(written.tokens) == " ".join(expected.split())


CASES = [
    *((kind, name) for kind in KINDS for name in ("full", "last_layers", "lora")),
    *(
        ("whisper", name)
        for name in ("bitfit", "lora_all_linear", "ia3", "ln_tuning", "dora", "adalora", "vera", "oft")
    ),
    *(("wav2vec2", name) for name in ("bitfit", "lora_all_linear", "ia3", "ln_tuning", "hra")),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_methods_adapt_recognizers(models: dict[str, Path], kind: str, name: str) -> None:
    """A few steps lower the loss; of Whisper adapters reach the decoder, too; outputs can still be written."""
    made = network(models[kind])
    made.set_dropout(0.0)
    rows = examples(models[kind], made)
    batch = rows.batch(np.arange(4), CPU)
    changes: dict[str, Any] = {"layers": 1} if name == "last_layers" else {}
    torch.manual_seed(0)
    hooks = method(name, **changes).adapt(made, recognizer(models[kind]), 20)
    made.train()
    trained = made.trainable()
    if kind == "whisper":
        assert any("decoder" in key for key in trained)
    optimizer, losses = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0), []
    for step in range(6):
        sums = made(batch).sum(dim=0)
        loss = sums[0] / sums[1]
        (loss if hooks.penalty() is None else loss + hooks.penalty()).backward()
        hooks.before_update(step)
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert rows.encoder is not None
    assert len(transcribe(made.eval(), batch, rows.encoder.prefix, 5)) == 4
