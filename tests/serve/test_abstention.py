"""A served model that knows when not to answer, from the run over its export to the service."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from harness.errors import HarnessError
from harness.export.exporting import Request, export
from harness.export.winner import winner
from harness.records.run_spec import RunSpec
from harness.serve.loaded import Loaded
from harness.serve.loading import load_one
from harness.serving.confidence.abstaining import rule_for
from harness.serving.predict import load
from tests.helpers.small_dataset import record
from tests.serve.conftest import Serve


def test_run_keeps_what_it_knows(judging: RunSpec, cache: Path) -> None:
    """Temperature, rows and detectors are in the saved model and in predictions; single and repeated passes agree."""
    found = record(judging)
    assert found.error is None and found.data["out_of_scope"]["test"] == 24
    predictor = load(judging.paths.model, "cpu", cache)
    known = predictor.confidence
    assert known is not None and set(known.detectors) == {"mahalanobis", "knn", "energy", "confidence"}
    assert {name: len(part.right) for name, part in known.parts.items()} == {
        "validation": 180, "test": 90, "validation_outside": 48, "test_outside": 24,
    }  # fmt: skip
    table = pd.read_parquet(judging.paths.predictions)
    test = table.query("split == 'test'")
    np.testing.assert_allclose(known.parts["test"].scores["knn"], test["scope_knn"], atol=1e-5)
    assert known.parts["test"].right.mean() == pytest.approx(test["score_accuracy"].mean())
    assert table.query("split == 'test_outside'")["score_accuracy"].isna().all()
    texts = pd.read_csv(judging.paths.directory.parents[1] / "test.csv").query("topic != 'weather'")["text"].tolist()
    judged = predictor.judged(texts)
    np.testing.assert_allclose(judged.confidence, known.parts["test"].confidence, atol=1e-4)
    np.testing.assert_allclose(judged.predictions, predictor.predictions(texts), atol=1e-6)
    detector = known.detector(True)
    assert detector is not None and judged.score is not None
    np.testing.assert_allclose(judged.score, known.parts["test"].scores[detector], rtol=1e-2, atol=1e-2)
    assert known.without_rows().detector(True) != "knn" and known.detector(False) in ("energy", "confidence")


def test_service_abstains_and_explains(serve: Serve, judging: RunSpec, cache: Path, tmp_path: Path) -> None:
    """From an export with its training rows: out of scope and unsure are told apart, similar rows are shown."""
    private, open_ = tmp_path / "private", tmp_path / "open"
    export(winner(judging.paths.model, Path("runs")), Request(private), cache)
    assert not (private / "examples.jsonl").exists()
    assert "bank" not in load_file(private / "confidence.safetensors")
    assert "weather" not in (private / "harness.json").read_text()
    export(winner(judging.paths.model, Path("runs")), Request(open_, examples=True), cache)
    model = load_one(open_, "cpu", cache, "torch")
    rule = model.rule(0.8)
    assert rule.test is not None and rule.outside is not None and rule.test.precision is not None
    assert rule.test.coverage > 0.7 and rule.outside.coverage < 0.3
    assert f"{rule.test.coverage:.1%} of 90 test rows" in rule.sentence()
    asked = {"texts": ["my parcel is late again please", "the weather is sunny here"], "precision": 0.8}
    with serve({"m": model}) as running:
        sure, outside = running.post("/predict", asked).json()["predictions"]
        assert sure["abstained"] is False and sure["prediction"] == "delivery" and 0 < sure["confidence"] <= 1
        assert outside["abstained"] is True and outside["prediction"] is None
        assert outside["reason"].startswith("out of scope: ") and set(outside["probabilities"]) == set(model.labels)
        plain = running.post("/predict", {"texts": asked["texts"]}).json()["predictions"]
        assert set(plain[1]) == {"prediction", "probabilities"} and plain[1]["prediction"]
        assert plain[0]["probabilities"] == sure["probabilities"]
        impossible = running.post("/predict", asked | {"precision": 0.9999})
        assert impossible.status_code == 422 and "Ask for at most 0.9" in impossible.json()["error"]
        for wrong in (0, 1, "0.9", True):
            assert running.post("/predict", asked | {"precision": wrong}).status_code == 422
        assert 'harness_abstentions_total{model="m",reason="out of scope"} 1.0' in running.client.get("/metrics").text
        why = running.post("/explain", {"text": "my parcel is late"}).json()
        assert [each["word"] for each in why["words"]] == ["my", "parcel", "is", "late"]
        assert max(why["words"], key=lambda each: each["weight"])["word"] == "parcel"
        assert why["similar"][0]["label"] == "delivery" and "parcel" in why["similar"][0]["text"]
        other = running.post("/explain", {"text": "my parcel is late", "label": "refund"}).json()
        assert (other["prediction"], other["label"]) == ("delivery", "refund")
        parcel = next(each for each in other["words"] if each["word"] == "parcel")
        without = running.post("/predict", {"text": "my is late"}).json()["predictions"][0]["probabilities"]["refund"]
        assert parcel["probability"] == pytest.approx(without, abs=1e-4)
        for wrong in ({}, {"text": "a", "label": "nothing"}, {"texts": ["a"]}, {"text": " "}):
            assert running.post("/explain", wrong).status_code == 422
        assert running.client.get("/models").json()["models"][0]["similar"] is True


def test_models_that_know_nothing_are_told(judging: RunSpec, loaded: Loaded, cache: Path, tmp_path: Path) -> None:
    """Models without the facts, without validation rows, and with a damaged file."""
    model = load_one(judging.paths.model, "cpu", cache, "torch")
    known = model.known
    with pytest.raises(HarnessError, match="validation=kfold"):
        rule_for(type(known)(1.0, {"test": known.parts["test"]}), 0.9, True)
    with pytest.raises(HarnessError, match="at any confidence"):
        loaded.rule(0.999)  # 24 validation rows
    facts = json.loads((judging.paths.model / "harness.json").read_text())
    folder = tmp_path / "model"
    folder.mkdir()
    for file in judging.paths.model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes() if file.name != "confidence.safetensors" else b"cut")
    with pytest.raises(HarnessError, match="save or export the model again"):
        load(folder, "cpu", cache)
    del facts["confidence"]
    (folder / "harness.json").write_text(json.dumps(facts))
    with pytest.raises(HarnessError, match="saved by an earlier version"):
        load_one(folder, "cpu", cache, "torch").rule(0.9)
