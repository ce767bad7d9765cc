"""Of every family: what its export is loads with the family's own tools and agrees; what it cannot be is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline

from harness.errors import HarnessError
from harness.export.exporting import Request, export
from harness.export.formats import Original
from harness.export.proof import data_of_run, original_predictions, prove, rows_to_compare
from harness.export.winner import Winner, winner
from harness.records.study_files import DESCRIPTION
from harness.serving.predict import load
from harness.serving.saved_model import backbone_of, read_description
from tests.helpers.tiny_families import saved


def exported(model: Path, to: Path, cache: Path, form: str = "merged") -> str:
    """What the proof of an export says."""
    torch.set_num_threads(1)
    return export(winner(model, Path("runs")), Request(to, form), cache)


def test_images(tmp_path: Path, cache: Path) -> None:
    """Transformers' pipeline of a folder with a module of its own gives the probabilities of `harness.predict`."""
    model = saved("image_classification", "linear_probe", tmp_path / "home", cache)
    to = tmp_path / "exported"
    assert "5 test rows differ" in exported(model, to, cache)
    path = str(next((tmp_path / "home" / "cells" / "light").iterdir()))
    expected = load(model, "cpu", cache).probabilities([path])[0]
    np.testing.assert_allclose(load(to, "cpu", cache).probabilities([path])[0], expected, atol=1e-5)
    classify: Any = pipeline("image-classification", str(to), trust_remote_code=True, device="cpu")
    scores = {each["label"]: each["score"] for each in classify(path)}
    np.testing.assert_allclose([scores["dark"], scores["light"]], expected, atol=1e-4)
    card = (to / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card and "trust_remote_code=True)('photo.jpg')" in card
    assert "Texts are cut" not in card
    with pytest.raises(HarnessError, match=r"sentence-transformers embeds texts\. Set --format merged or onnx"):
        exported(model, tmp_path / "none", cache, "sentence-transformers")


def test_tags(tmp_path: Path, cache: Path) -> None:
    """The logits of the first piece of each word; a pipeline finds the same entities."""
    model = saved("token_tagging", "linear_probe", tmp_path / "home", cache)
    to = tmp_path / "exported"
    assert "test rows differ" in exported(model, to, cache)
    text = "Ann Lee has a kettle from Berlin"
    (expected,) = load(model, "cpu", cache).predict([text])
    assert load(to, "cpu", cache).predict([text]) == [expected]
    find: Any = pipeline(
        "token-classification", str(to), trust_remote_code=True, aggregation_strategy="first", device="cpu"
    )
    found = [(each["start"], each["end"], each["entity_group"]) for each in find(text)]
    assert found == [(each["start"], each["end"], each["label"]) for each in expected] and found
    # 8-bit outputs are judged by tags and the task's metric; a blank text has no words, as in prediction.
    facts, predictor = read_description(model), load(model, "cpu", cache)
    original = Original(model, facts, predictor, backbone_of(facts).resolve(cache))
    network: Any = predictor.network
    blank = predictor.task.asked([" ", text, ""], None)
    outputs = original_predictions(original, blank)
    proof = prove(original, blank, outputs, lambda batch: -network(batch), None, True)
    assert proof.agreement == 0 and "the same tag as the model for 0.0% of 7 words in 3 test rows" in proof.sentence(
        True
    )
    with pytest.raises(HarnessError, match="hold no word"):
        original_predictions(original, predictor.task.asked([" "], None))
    run = winner(model, Path("runs")).run
    assert run is not None
    split = rows_to_compare(data_of_run(run.read_config() or {}), 30)
    outputs = original_predictions(original, split)
    proof = prove(original, split, outputs, network, "entity_f1", True)
    assert proof.agreement == 1 and proof.before == proof.after and proof.before and proof.interval == (0, 0)
    with pytest.raises(HarnessError, match=r"worse than the model.*entity_f1 0\.0.* against 0\.8.*Leave --int8 out"):
        prove(original, split, outputs, lambda batch: -network(batch), "entity_f1", True)


def test_detectors(tmp_path: Path, cache: Path) -> None:
    """A detector keeps its own heads, so that a pipeline finds the same boxes without any code."""
    model = saved("detector", "full", tmp_path / "home", cache)
    to = tmp_path / "exported"
    assert "test rows differ" in exported(model, to, cache)
    path = str(next((tmp_path / "home" / "squares" / "pictures").iterdir()))
    expected = load(model, "cpu", cache).predict([path])[0][0]
    assert load(to, "cpu", cache).predict([path])[0][0] == expected
    find: Any = pipeline("object-detection", str(to), threshold=0.01, device="cpu")
    best = max(find(path), key=lambda each: each["score"])
    assert best["label"] == expected["label"] and best["score"] == pytest.approx(expected["score"], abs=1e-3)
    box = [best["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
    np.testing.assert_allclose(box, expected["box"], atol=1.01)  # whole pixels


def test_speech(tmp_path: Path, cache: Path) -> None:
    """A recognizer is one of transformers; here it writes what it wrote before."""
    model = saved("ctc", "full", tmp_path / "home", cache)
    to = tmp_path / "exported"
    assert "test rows differ" in exported(model, to, cache)
    path = next((tmp_path / "home" / "said").glob("*.wav"))
    assert load(to, "cpu", cache).predict([str(path)]) == load(model, "cpu", cache).predict([str(path)])
    hear: Any = pipeline("automatic-speech-recognition", str(to), device="cpu")
    samples, rate = soundfile.read(path)
    assert hear({"raw": samples, "sampling_rate": rate})["text"]
    assert "pipeline_tag: automatic-speech-recognition" in (to / "README.md").read_text()
    with pytest.raises(HarnessError, match=r"token by token.*Set --format merged"):
        exported(model, tmp_path / "none", cache, "onnx")


def test_what_no_format_holds_is_told(tmp_path: Path, cache: Path) -> None:
    """In one sentence, before anything is computed or written."""
    for family, lacks in (("retrieval", "its collection"), ("recommendation", "the items and users")):
        folder = tmp_path / family
        folder.mkdir()
        facts = {"format": 1, "family": family, "pairs": False, "max_length": 8, "model": {"name": "m"}, "digest": "d"}
        (folder / DESCRIPTION).write_text(json.dumps(facts))
        with pytest.raises(HarnessError, match=f"whose answers need {lacks}"):
            export(Winner(folder), Request(tmp_path / "none"), cache)
    sounds = saved("audio_classification", "linear_probe", tmp_path / "home", cache)
    for form, why in (("merged", "no classifier of sounds"), ("onnx", "sounds of each length apart")):
        with pytest.raises(HarnessError, match=f"{why}.*harness serve {sounds}"):
            exported(sounds, tmp_path / "none", cache, form)
    assert not (tmp_path / "none").exists()
