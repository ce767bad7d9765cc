"""Rows and models that do not fit are told before anything is computed, and nothing else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, Problems
from harness.tasks.text_generation.task import TextGeneration
from tests.helpers import tiny_writers

Change = Callable[[dict[str, Any]], object]
GOOD = [{"p": f"a{n} b", "c": f"c{n}"} for n in range(8)]
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A decoder without and with a chat template, and an encoder-decoder."""
    parent = tmp_path_factory.mktemp("models")
    made = {
        "plain": (tiny_writers.decoder, None), "chat": (tiny_writers.decoder, tiny_writers.TEMPLATE),
        "pairs": (tiny_writers.encoder_decoder, None),
    }  # fmt: skip
    return {name: tiny_writers.saved(parent / name, *each) for name, each in made.items()}


def told(
    rows: list[dict[str, Any]], model: Path | None, place: Path, change: tuple[str, Change] | None = None, **fields: Any
) -> str:
    """What loading the rows, and checking the model, complain about."""
    path = place / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    if model is not None and change is not None:
        copied = place / "changed"
        copied.mkdir()
        for file in model.iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
        content = json.loads((copied / change[0]).read_text(encoding="utf-8"))
        change[1](content)
        (copied / change[0]).write_text(json.dumps(content), encoding="utf-8")
        model = copied
    problems = Problems()
    try:
        data = TextGeneration(name="mine", path=str(path), test_fraction=0.3, validation_fraction=0.4, **fields).load()
    except HarnessError as error:
        return str(error)
    if model is not None:
        data.check_model("tiny", model, problems)
    return "\n".join(problems.messages)


COLUMNS = {"prompt": "p", "completion": "c"}


@pytest.mark.parametrize(
    ("rows", "fields", "says"),
    [
        (GOOD, {"prompt": "p"}, "has no completion: name its column with task.completion"),
        (GOOD, {"prompt": "p", "completion": "d"}, "has no column 'd'"),
        (GOOD, {"doc_to_text": "Say it", "completion": "c"}, "names no column"),
        (GOOD, {"doc_to_text": "{{q}}", "completion": "c"}, "names q, and rows.jsonl has no such column"),
        ([*GOOD, {"p": "a", "c": " "}], COLUMNS, "the text in column 'c' is empty: row 9 of 9"),
        ([*GOOD, {"p": "a", "c": None}], COLUMNS, "no text in column 'c': row 9 of 9"),
        ([*GOOD, {"p": "a", "c": []}], COLUMNS, "the list of references in column 'c' is empty"),
        ([*GOOD, {"p": "a", "c": ["x", 3]}], COLUMNS, "of different kinds, texts and int"),
        ([*GOOD, {"p": "a", "c": {"x": 1}}], COLUMNS, "holds dict"),
        ([{"t": [{"role": "bot", "content": "a"}, *TALK]}, {"t": TALK}], {"messages": "t"}, "unknown role 'bot'"),
        ([{"t": [*TALK[:1], *TALK]}, {"t": TALK}], {"messages": "t"}, "do not alternate (user, user, assistant)"),
        ([{"t": TALK[1:]}, {"t": TALK}], {"messages": "t"}, "the user does not begin"),
        (GOOD, {"text": "p", "metric": "bleu"}, "compares outputs with references"),
        (GOOD, {**COLUMNS, "slots": "p"}, "column 'p' holds no list of the texts"),
        (GOOD, {**COLUMNS, "generate": {"max_new_tokens": 0}}, "max_new_tokens must be a whole number, 1 or more"),
    ],
)
def test_rows(rows: list[dict[str, Any]], fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    """With the rows, and what to do."""
    assert says in told(rows, None, tmp_path, **fields)


@pytest.mark.parametrize(
    ("model", "change", "fields", "says"),
    [
        ("plain", None, {**COLUMNS, "chat": True}, "has no chat template"),
        ("plain", None, {**COLUMNS, "generate": {"max_new_tokens": 256}}, "is beyond the 256 tokens that model=tiny"),
        ("plain", None, {**COLUMNS, "generate": {"max_new_tokens": 253}}, "set task.generate.max_new_tokens=2"),
        ("plain", ("config.json", lambda c: c.update(max_position_embeddings=3)),
         {**COLUMNS, "generate": {"max_new_tokens": 1}}, "model=tiny reads 3 tokens: shorten or remove it"),
        ("plain", ("tokenizer_config.json", lambda c: c.pop("eos_token")), COLUMNS, "no end token (eos_token)"),
        ("plain", None, {**COLUMNS, "translation": True}, "is a decoder, and the prompts of this translation"),
        ("chat", None, {**COLUMNS, "translation": True, "chat": True}, "is a decoder, and the prompts"),
    ],
)  # fmt: skip
def test_models(
    model: str, change: tuple[str, Change] | None, fields: dict[str, Any], says: str, models: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    """With the model's limit, and what to do."""
    assert says in told(GOOD, models[model], tmp_path, change, **fields)


@pytest.mark.parametrize(
    ("model", "change", "fields"),
    [
        ("plain", None, COLUMNS),
        ("chat", None, {**COLUMNS, "chat": True}),
        ("chat", None, {**COLUMNS, "chat": True, "translation": True, "system": "Translate into French."}),
        ("plain", None, {"doc_to_text": "French: {{p}}", "completion": "c", "translation": True}),
        ("pairs", None, {**COLUMNS, "translation": True, "generate": {"max_new_tokens": 900}}),
        (
            "plain",
            ("tokenizer_config.json", lambda c: c.update(tokenizer_class="GPT2Tokenizer", eos_token=None)),
            COLUMNS,
        ),
        ("plain", ("config.json", lambda c: c.update(max_position_embeddings=9)), {"text": "p"}),
    ],
)
def test_what_fits_is_not_refused(
    model: str, change: tuple[str, Change] | None, fields: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing that could work is refused by files alone."""
    assert told(GOOD, models[model], tmp_path, change, **fields) == ""
