"""Outputs equal those of transformers' `generate` for each prompt alone, in the order of the prompts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from harness.errors import Problems
from harness.tasks.text_generation.generation import Decoding, generate

VOCABULARY = 64
ENDS = frozenset(range(2, 8))  # of a random model, so that some outputs end early
WIDTHS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0,
      "tie_word_embeddings": False}  # fmt: skip
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("CausalLM", WIDTHS | {"num_key_value_heads": 1}),
    "mistral": ("CausalLM", WIDTHS | {"num_key_value_heads": 1, "sliding_window": 6}),
    "gpt2": ("CausalLM", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "t5": ("Seq2SeqLM", T5),
    "bart": ("Seq2SeqLM", BART),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Padding, the end, and the words w2 to w63."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = models.WordLevel(
        {"<pad>": 0, "<end>": 1} | {f"w{number}": number for number in range(2, VOCABULARY)}, unk_token="w2"
    )
    made = Tokenizer(words)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>")


def tiny(kind: str) -> Any:
    """A random model of an architecture."""
    import transformers

    torch.manual_seed(0)
    auto, settings = MODELS[kind]
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1, bos_token_id=1, **settings
    )
    return getattr(transformers, f"AutoModelFor{auto}").from_config(config).eval()


def prompts(count: int) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(8, VOCABULARY) for _ in range(draw.randrange(1, 9))] for _ in range(count)]


def alone(model: Any, rows: list[list[int]], **options: Any) -> Iterator[tuple[int, ...]]:
    """What `generate` writes for each prompt alone, without the end token."""
    for row in rows:
        found = model.generate(
            input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long),
            eos_token_id=[1, *ENDS], pad_token_id=0, **options,
        )[0].tolist()  # fmt: skip
        encoder_decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
        new = found[1 if encoder_decoder.config.is_encoder_decoder else len(row) :]
        end = next((place for place, token in enumerate(new) if token in ENDS | {1}), len(new))
        yield tuple(new[:end])


@pytest.mark.parametrize("adapter", [None, "lora", "prompt_tuning"])
@pytest.mark.parametrize("kind", MODELS)
def test_batches_write_what_rows_alone_do(kind: str, adapter: str | None, tokenizer: Any) -> None:
    """Greedy outputs are the same, whatever shares the batch; some end early, some are cut."""
    model = tiny(kind)
    if adapter is not None:
        import peft

        task = "SEQ_2_SEQ_LM" if MODELS[kind][0] == "Seq2SeqLM" else "CAUSAL_LM"
        settings = {"num_virtual_tokens": 2} if adapter == "prompt_tuning" else {"init_lora_weights": False}
        if adapter == "lora" and kind == "bart":
            settings["target_modules"] = ["q_proj", "v_proj"]  # type: ignore[assignment]
        model = peft.get_peft_model(
            model, peft.get_peft_config({"peft_type": adapter.upper(), "task_type": task} | settings)
        )
        model.eval()
    rows = prompts(12)
    calls: list[tuple[int, int]] = []
    found = generate(
        model, tokenizer, rows, Decoding(max_new_tokens=12), 5, ENDS, lambda done, all_: calls.append((done, all_))
    )
    assert [row[0].tokens for row in found] == list(alone(model, rows, max_new_tokens=12, do_sample=False, num_beams=1))
    assert {len(row[0].tokens) == 12 for row in found} == {row[0].cut for row in found}
    assert [row[0].text for row in found] == [
        " ".join(f"w{token}" for token in row[0].tokens if token) for row in found
    ]
    assert calls[-1] == (12, 12) and len(calls) >= 3


@pytest.mark.parametrize("kind", ["llama", "bart"])
def test_stop_strings(kind: str, tokenizer: Any) -> None:
    """An output ends before the first stop string, and is not cut then."""
    model, rows = tiny(kind), prompts(6)
    whole = generate(model, tokenizer, rows, Decoding(max_new_tokens=10), 6)
    word = whole[0][0].text.split()[2]
    found = generate(model, tokenizer, rows, Decoding(max_new_tokens=10, stop=(f"{word}",)), 6)
    beams = generate(model, tokenizer, rows, Decoding(max_new_tokens=10, stop=(f"{word}",), num_beams=2), 6)
    assert found[0][0].text == whole[0][0].text.split(word)[0] and not found[0][0].cut
    assert [row[0].text for row in found] == [row[0].text.split(word)[0] for row in whole]
    assert not any(word in row[0].text for row in beams)


def test_beams_and_samples(tokenizer: Any) -> None:
    """Beams are those of `generate`; samples differ from one another and are the same for the same seed."""
    model, rows = tiny("llama"), prompts(6)
    beams = generate(model, tokenizer, rows, Decoding(max_new_tokens=8, num_beams=3), 4, ENDS)
    assert [row[0].tokens for row in beams] == list(alone(model, rows, max_new_tokens=8, num_beams=3, do_sample=False))
    drawn = [
        generate(model, tokenizer, rows, Decoding(8, temperature=1.0, samples=3, seed=seed), 4) for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(row) == 3 and len(set(row)) > 1 for row in drawn[0])


def test_a_model_keeps_its_own_settings(tokenizer: Any) -> None:
    """What a generation_config asks for besides beams holds, as with `generate` itself."""
    model, rows = tiny("llama"), prompts(4)
    free = generate(model, tokenizer, rows, Decoding(max_new_tokens=12), 4)
    model.generation_config.no_repeat_ngram_size = 1
    found = generate(model, tokenizer, rows, Decoding(max_new_tokens=12), 4)
    assert all(len(set(row[0].tokens)) == len(row[0].tokens) for row in found) and found != free


def test_what_cannot_be_decoded() -> None:
    """All wrong values at once."""
    problems = Problems()
    Decoding(max_new_tokens=0, num_beams=1, temperature=-1.0, samples=2, stop=("",)).check(problems)
    text = "\n".join(problems.messages)
    for part in ("max_new_tokens must be", "temperature must be", "samples=2 outputs", "stop is a list"):
        assert part in text
    problems = Problems()
    for temperature in (1e-30, float("inf")):
        Decoding(temperature=temperature).check(problems)
    for seed in (-1, 2**32):
        Decoding(seed=seed).check(problems)
    assert len(problems.messages) == 4 and "0.0001 or more, not 1e-30" in problems.messages[0]
    Decoding(temperature=1e-4, seed=2**32 - 1).check(problems)
    assert len(problems.messages) == 4
