"""Texts said anew by a tiny random T5 with MiniLM's tokenizer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from harness.augment import Augmentation, augmented
from harness.augment.paraphrase import CHUNK
from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.models.network import load_tokenizer
from harness.records.signature import models_digest
from tests.augment.test_augment import TEXTS, around, node, rows
from tests.helpers.small_dataset import ROOT


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A T5 of one layer, random, that ends soon."""
    from transformers import T5Config, T5ForConditionalGeneration

    directory = tmp_path_factory.mktemp("t5")
    minilm = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8")))
    load_tokenizer(minilm.resolve(cache)).save_pretrained(directory)
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(
        T5Config(vocab_size=30522, **sizes, decoder_start_token_id=0, pad_token_id=0, eos_token_id=102)
    ).save_pretrained(directory)
    return directory


def test_versions_are_made_once_and_drawn_by_the_seed(tiny: Path, tmp_path: Path) -> None:
    """Cached versions are used again; runs of other seeds draw others of them; a model back says it otherwise."""
    lines: list[str] = []
    charged: list[float] = []
    here = replace(around(tmp_path), say=lines.append, charge=charged.append)
    changes = {"path": str(tiny), "pool": 3, "max_new_tokens": 8, "prefix": "say: "}
    # More than a chunk: what was generated before an interruption is kept.
    split = rows(TEXTS + [f"text number {n}" for n in range(CHUNK)])
    outside = torch.get_rng_state()
    runs = []
    for seed in (0, 0, 1):
        fresh: Augmentation = build(node("paraphrase", **changes))
        runs.append(augmented(split, {"paraphrase": fresh}, seed, here))
    (one, facts), (again, _), (other, _) = runs
    assert torch.equal(outside, torch.get_rng_state())  # a run's own randomness is untouched
    assert one.texts == again.texts and one.texts != other.texts
    assert len(one) - len(split) == facts["paraphrase"]["copies"] > CHUNK
    assert facts["paraphrase"]["models"] == [f"path {tiny}"]
    assert len(lines) == 1 and "once" in lines[0]
    assert len(charged) == 4 and min(charged) > 0  # two chunks, twice out of the cache
    assert len(list((tmp_path / "augment").glob("*.json"))) == 2
    back: Augmentation = build(node("paraphrase", **changes, back_path=str(tiny)))
    used = fresh.ready(tmp_path)
    assert len(used) == 1 and back.ready(tmp_path) == used * 2  # part of a run's signature
    assert models_digest("m", []) == "m" != models_digest("m", used)
    there, facts = augmented(rows(TEXTS), {"paraphrase": back}, 0, here)
    assert len(facts["paraphrase"]["models"]) == 2 and not {*there.texts[6:]} & {*one.texts[len(split) :]}


def test_a_model_that_cannot_do_it_says_so(tmp_path: Path, cache: Path) -> None:
    """An encoder is no sequence-to-sequence model; a path that holds none is named with its key, before any run."""
    minilm = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8"))).resolve(cache)
    encoder: Augmentation = build(node("paraphrase", path=str(minilm.path)))
    with pytest.raises(HarnessError, match="sequence-to-sequence"):
        encoder.prepare(TEXTS, around(tmp_path))("x", np.random.default_rng(0))
    absent: Augmentation = build(node("paraphrase", path=str(tmp_path / "absent"), back_path="x"))
    with pytest.raises(HarnessError, match=r"augment\.paraphrase\.path"):
        absent.ready(cache)


def test_settings_of_the_model_are_in_its_digest(tiny: Path, tmp_path: Path) -> None:
    """Those that repeat config.json change nothing; others would change what it writes."""
    directory = tmp_path / "t5"
    shutil.copytree(tiny, directory)
    digests = []
    for own in (None, {}, {"repetition_penalty": 1.5}, {"repetition_penalty": 2.0}):
        file = directory / "generation_config.json"
        settings = {"transformers_version": "1", "eos_token_id": 102, "pad_token_id": 0, "decoder_start_token_id": 0}
        file.unlink(missing_ok=True)
        if own is not None:
            file.write_text(json.dumps(settings | own), encoding="utf-8")
        digests += build(node("paraphrase", path=str(directory))).ready(tmp_path)
    assert digests[0] == digests[1] and len({*digests}) == 3
