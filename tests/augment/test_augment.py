"""Copies of training rows: what they look like, that only training rows have them, and that a seed fixes them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.augment import Augmentation, AugmentationContext, augmented
from harness.augment.noise import NEIGHBOURS, typo
from harness.config.instantiate import build
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.records.run_spec import RunBatch
from harness.runs.execute import execute
from tests.helpers.small_dataset import ROOT, record, spec
from tests.helpers.small_dataset import short_config as config

TEXTS = [
    "where is my parcel, it never arrived",
    "the courier lost my package again",
    "i want a refund of the payment",
    "please give the money back",
    "my login code does not work",
    "reset the password please",
]


def node(name: str, **changes: Any) -> dict[str, Any]:
    """An augmentation's YAML."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "conf/augment" / f"{name}.yaml").read_text(encoding="utf-8"))
    return content | changes


def rows(texts: list[str], pairs: list[str] | None = None) -> Split:
    """Training rows of three classes."""
    labels = np.arange(len(texts), dtype=np.int64) // 2
    return Split("train", texts, pairs, labels, np.arange(100, 100 + len(texts), dtype=np.int64))


def around(tmp_path: Path) -> AugmentationContext:
    """Words are alike that begin alike."""

    def embed(words: list[str]) -> Any:
        vectors = np.zeros((len(words), 26 * 26), dtype=np.float32)
        for row, word in enumerate(words):
            vectors[row, (ord(word[0]) - 97) * 26 % 676] = 1.0
        return vectors

    return AugmentationContext(embed, "cpu", tmp_path, lambda line: None, lambda seconds: None)


def made(name: str, tmp_path: Path, split: Split, seed: int = 0, **changes: Any) -> Split:
    """The rows with the copies of one augmentation."""
    built: Augmentation = build(node(name, **changes))
    return augmented(split, {name: built}, seed, around(tmp_path))[0]


@pytest.mark.parametrize("name", ["noise", "eda"])
def test_copies_are_fixed_by_the_seed_and_follow_the_rows(name: str, tmp_path: Path) -> None:
    """The rows come first, untouched; a copy has the label and id of its row; another seed makes other copies."""
    split = rows(TEXTS)
    one, again, other = (made(name, tmp_path, split, seed, copies=3) for seed in (0, 0, 1))
    assert one.texts[:6] == TEXTS and one.texts == again.texts and one.augmentation == again.augmentation
    assert one.texts != other.texts and one.augmentation != other.augmentation
    assert 6 < len(one) <= 24 and len({*one.texts}) == len(one)  # none equals its row or another copy
    assert len(one.targets) == len(one.ids) == len(one)
    assert set(zip(one.targets, one.ids, strict=True)) == set(zip(split.targets, split.ids, strict=True))
    # A row's copies do not depend on which other rows there are, where no words are compared.
    if name == "noise":
        alone = made(name, tmp_path, rows(TEXTS[:2]), copies=3)
        assert alone.texts[2:] == one.texts[6 : 6 + len(alone) - 2]


def test_both_texts_of_a_pair_are_copied(tmp_path: Path) -> None:
    """A copy of a pair is a pair."""
    pairs = made("noise", tmp_path, rows(TEXTS, TEXTS[::-1]))
    assert pairs.pairs is not None and len(pairs.pairs) == len(pairs.texts) > 6
    assert pairs.pairs[6] != TEXTS[-1] and pairs.texts[6] != TEXTS[0]


def test_a_typing_error_is_one_edit() -> None:
    """Two letters swapped, one dropped, doubled or hit beside; all four occur; other alphabets have no keys beside."""
    generator = np.random.default_rng(0)
    kinds: Counter[str] = Counter()
    for _ in range(300):
        word = typo("parcel", generator)
        if len(word) == 5:
            kinds["dropped"] += 1
        elif len(word) == 7:
            kinds["doubled"] += 1
        elif sorted(word) == sorted("parcel"):
            kinds["swapped"] += 1
        else:
            (place,) = [i for i in range(6) if word[i] != "parcel"[i]]
            assert word[place] in NEIGHBOURS["parcel"[place]]
            kinds["beside"] += 1
    assert min(kinds.values()) > 40 and len(kinds) == 4
    assert all(len(typo("посылка", generator)) in (6, 7, 8) for _ in range(20))


def test_words_beside_punctuation_get_errors_too(tmp_path: Path) -> None:
    """At a rate of 1 every word of three letters and more is changed, and nothing else is."""
    method: Augmentation = build(node("noise", rate=1.0))
    copy = method.prepare([], around(tmp_path))("Where is my card? Help, (please)!", np.random.default_rng(0))[0]
    words = re.findall(r"\w+", copy)
    assert [words[1], words[2]] == ["is", "my"]
    assert all(new != old for new, old in zip(words[:1] + words[3:], ["Where", "card", "Help", "please"], strict=True))
    assert re.sub(r"\w+", "", copy) == "   ? , ()!"


def test_edits_are_the_four_of_the_paper(tmp_path: Path) -> None:
    """Words are replaced or inserted from those found alike, swapped or deleted."""
    words = {word.strip(",") for text in TEXTS for word in text.split()}
    kinds: Counter[str] = Counter()
    split = rows(TEXTS)
    copies = made("eda", tmp_path, split, copies=40, similarity=0.9)
    for text, identifier in zip(copies.texts[6:], copies.ids[6:], strict=True):
        before, after = TEXTS[identifier - 100].split(), text.split()
        new = {word.strip(",") for word in after} - {word.strip(",") for word in before}
        assert new <= words
        if sorted(before) == sorted(after):
            kinds["swapped"] += 1
        elif len(after) < len(before):
            kinds["deleted"] += 1
        elif len(after) > len(before):
            kinds["inserted"] += 1
        else:
            kinds["replaced"] += 1
            (changed,) = new or {""}
            assert not changed or any(word[0] == changed[0] for word in before)
    assert set(kinds) == {"swapped", "deleted", "inserted", "replaced"}


def test_settings_that_cannot_be_say_so() -> None:
    """Each rule names the key and the value."""
    for name, changes, words in (
        ("noise", {"copies": 0}, "augment.noise.copies must be a whole number, 1 or more, not 0"),
        ("noise", {"rate": 1.5}, r"augment.noise.rate must lie in \[0, 1\], not 1.5"),
        ("eda", {"alpha": -1}, "augment.eda.alpha"),
        ("paraphrase", {"hub": None}, "names no model"),
        ("paraphrase", {"copies": 4}, "raise the pool"),
        ("paraphrase", {"top_p": 0}, "top_p must lie"),
    ):
        with pytest.raises(HarnessError, match=words):
            build(node(name, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["linear_probe", "lora"])
def test_a_run_trains_on_the_copies_and_is_judged_without(method: str, tmp_path: Path, cache: Path) -> None:
    """Copies count in rows and steps, are told in the record, and no row that judges has any; a seed repeats them."""
    composed = config(tmp_path, cache, method, train__epochs=1)
    composed["augment"] = {"noise": node("noise"), "eda": node("eda")}
    planned = spec(composed, tmp_path / "one", phase="confirm")
    execute(RunBatch((planned, spec(composed, tmp_path / "again", phase="confirm"))))
    found, again = record(planned), record(spec(composed, tmp_path / "again", phase="confirm"))
    assert found.status == "ok", found.error
    counts = {name: facts["copies"] for name, facts in found.data["augmented"].items()}
    assert counts["noise"] > 20 and counts["eda"] > 20
    assert found.cost["samples"] == 30 + sum(counts.values()) and found.cost["augment_seconds"] > 0
    assert method != "lora" or found.cost["steps"] == -(-(30 + sum(counts.values())) // 8)
    assert found.metrics == again.metrics and found.data["augmented"] == again.data["augmented"]
    plain = config(tmp_path, cache, method, train__epochs=1)
    assert spec(plain, tmp_path, phase="confirm").signature != planned.signature
    from pyarrow import parquet

    assert parquet.read_table(planned.paths.predictions).num_rows == 2 * 8 * 3


def test_a_method_that_reads_no_rows_has_no_copies(tmp_path: Path, cache: Path) -> None:
    """Neither its result nor its signature depends on them."""
    plain = config(tmp_path, cache, "zero_shot") | {"augment": {}}
    asked = plain | {"augment": {"noise": node("noise")}}
    assert spec(plain, tmp_path, "tune").signature == spec(asked, tmp_path, "tune").signature


def test_copies_of_a_fold_come_from_its_own_rows(tmp_path: Path, cache: Path) -> None:
    """What a fold holds out is neither augmented nor the origin of a copy that it trains on."""
    from harness.runs.prepare import PreparedRun

    composed = config(tmp_path, cache, "linear_probe", {"validation": "kfold", "folds": 2, "validation_path": None})
    composed["augment"] = {"noise": node("noise")}
    planned = spec(composed, tmp_path / "run", phase="tune")
    loaded = PreparedRun.load(planned, lambda line: None, lambda: None)
    assert len(loaded.data.folds) == 2
    for training, held_out in loaded.data.folds:
        assert len(training) > 15 and held_out.augmentation == ""
        assert not {*training.ids} & {*held_out.ids}
