"""A second model on trial: its share of the requests, its shadow, and what feedback says of it."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from harness.errors import HarnessError
from harness.records.run_spec import RunSpec
from harness.records.study_files import DESCRIPTION
from harness.serve.__main__ import main
from harness.serve.app import Service
from harness.serve.feedback import FeedbackStore
from harness.serve.keys import Keys
from harness.serve.live.trial import Trial, agree, trial_of
from harness.serve.loaded import Loaded
from harness.serve.settings import Settings
from harness.serving.saved_model import read_description
from tests.serve.live.test_reloading import Answering


def answering(loaded: Loaded, place: int, name: str) -> Loaded:
    """A model that always answers one class, of files of its own."""
    facts = {**loaded.facts, "files_digest": (name * 16)[:16]}
    return replace(loaded, predictor=Answering(loaded.predictor, place), facts=facts)


def service(loaded: Loaded, trial: Trial, directory: Path) -> Service:
    """Two models that always answer the first and the second class."""
    models = {name: answering(loaded, place, name) for place, name in enumerate("ab")}
    return Service(models, Settings(drain=0.0), Keys(), FeedbackStore(directory), trial=trial)


def test_share_and_verdict(loaded: Loaded, tmp_path: Path) -> None:
    """A fifth of the requests are answered by the second model; feedback on either ends with the right verdict."""
    random.seed(4)
    trial = Trial("a", "b", 0.2)
    with TestClient(service(loaded, trial, tmp_path).app) as client:
        text = {"text": "my parcel is late"}
        by = []
        for _ in range(100):
            answer = client.post("/predict", json=text).json()
            by.append(answer["model"])
            assert answer["predictions"][0]["prediction"] == loaded.labels["ab".index(answer["model"])]
            assert answer["digest"] == answer["model"] * 16
        assert 10 <= by.count("b") <= 30
        assert client.post("/models/a/predict", json=text).json()["model"] == "a"
        assert client.get("/trial").json() == {
            "first": "a", "second": "b", "share": 0.2, "verdict": "unresolved", "next_look": 50,
            "feedback": {"a": {"feedback": 0, "right": 0}, "b": {"feedback": 0, "right": 0}},
        }  # fmt: skip
        for number in range(100):
            for place, name in enumerate("ab"):
                right = number % (2 if name == "a" else 10) > 0
                row = text | {"predicted": loaded.labels[place], "label": loaded.labels[place if right else 2]}
                answer = row | {"model": name, "digest": name * 16}
                path = f"/models/{name}/feedback" if number % 2 else "/feedback"
                assert client.post(path, json=answer).status_code == 201
        client.post("/models/b/feedback", json=text | {"label": loaded.labels[0]})  # does not say what was answered
        told = client.get("/trial").json()
        assert told["feedback"] == {"a": {"feedback": 100, "right": 50}, "b": {"feedback": 100, "right": 90}}
        assert told["verdict"] == "better" and "next_look" not in told
        assert told["look"]["low"] > 0 and told["look"]["rows"] in (50, 100)
    # Stored feedback counts after a restart, that on other files or of damaged lines does not.
    (stored,) = (tmp_path / "b").iterdir()
    with stored.open("a") as file:
        file.write("cut {\n[]\n" + json.dumps(text | {"predicted": "x", "label": "x", "digest": "another"}) + "\n")
    again = Trial("a", "b", 0.2)
    service(loaded, again, tmp_path)
    again.resume(tmp_path)
    assert again.told()["feedback"] == told["feedback"] and again.told()["look"] == told["look"]
    gone = Trial("a", "b", 0.2)
    for name in "ab":
        gone.begin(name, "f" * 16)
    gone.resume(tmp_path)
    assert gone.told()["feedback"]["a"]["feedback"] == 0


def test_feedback_counts_for_the_files_that_answered(loaded: Loaded, tmp_path: Path) -> None:
    """After a swap the trial of that name begins anew; late feedback on the model before does not count for the new."""
    trial = Trial("a", "b", 0.5)
    running = service(loaded, trial, tmp_path)
    with TestClient(running.app) as client:

        def tell(name: str, digest: str) -> None:
            row = {"text": "late", "predicted": loaded.labels[0], "label": loaded.labels[0], "digest": digest}
            assert client.post(f"/models/{name}/feedback", json=row).status_code == 201

        def counted() -> list[int]:
            return [each["feedback"] for each in client.get("/trial").json()["feedback"].values()]

        for _ in range(3):
            tell("a", "a" * 16)
            tell("b", "b" * 16)
        assert counted() == [3, 3]
        running.swap("a", answering(loaded, 2, "c"))
        assert counted() == [0, 3]
        tell("a", "a" * 16)
        assert counted() == [0, 3]
        answer = client.post("/models/a/predict", json={"text": "late"}).json()
        tell("a", answer["digest"])
        assert counted() == [1, 3]
    again = Trial("a", "b", 0.5)  # stored rows of files that no longer answer do not count after a restart, either
    again.begin("a", "c" * 16)
    again.begin("b", "b" * 16)
    again.resume(tmp_path)
    assert [each["feedback"] for each in again.told()["feedback"].values()] == [1, 3]


def test_feedback_that_names_no_answer_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    """While two models share the path without a name, feedback must say which one answered, and what files it had."""
    right = {"text": "late", "label": loaded.labels[0]}
    said = right | {"predicted": loaded.labels[0]}
    with TestClient(service(loaded, Trial("a", "b", 0.5), tmp_path).app) as client:
        for path, body, message in (
            ("/feedback", right, "a and b answer here"),
            ("/feedback", said | {"digest": "a" * 16}, "send model and digest of the answer"),
            ("/feedback", said | {"model": "c", "digest": "a" * 16}, "model must be a or b"),
            ("/models/a/feedback", said | {"model": "b", "digest": "b" * 16}, "model must be a here"),
            ("/models/b/feedback", said, "send digest of the answer"),
            ("/models/b/feedback", said | {"digest": "B" * 16}, "digest"),
        ):
            refused = client.post(path, json=body)
            assert refused.status_code == 422 and message in refused.json()["error"], (path, refused.json())
        assert not list(tmp_path.rglob("*.jsonl"))
        assert client.post("/feedback", json=right | {"model": "b"}).status_code == 201
        assert [file.parent.name for file in tmp_path.rglob("*.jsonl")] == ["b"]
    with TestClient(service(loaded, Trial("a", "b", 0.0), tmp_path).app) as client:  # a shadow answers nothing
        assert client.post("/feedback", json=said | {"digest": "a" * 16}).status_code == 201
        assert client.get("/trial").json()["feedback"]["a"]["feedback"] == 1


def test_models_on_trial_take_the_same(
    probe: RunSpec, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another class, or another kind of input, is refused at the start."""
    monkeypatch.chdir(tmp_path)
    description = read_description(probe.paths.model)
    for name, change in (("classes", {"labels": ["x", "y", "z"]}), ("pairs", {"pairs": True})):
        shutil.copytree(probe.paths.model, tmp_path / name)
        (tmp_path / name / DESCRIPTION).write_text(json.dumps(description | change))
        given = [f"old={probe.paths.model}", f"new={tmp_path / name}", "--port", "0", "--engine", "torch"]
        for option in (("--share", "new=0.5"), ("--shadow", "new")):
            assert main([*given, *option, "--cache-dir", str(cache)]) == 2
            assert "put a model of the same task on trial" in capsys.readouterr().err


def test_shadow_answers_nothing(loaded: Loaded, tmp_path: Path) -> None:
    """All answers are the first model's; how often the shadow agrees is counted."""
    trial = Trial("a", "b", 0.0)
    with TestClient(service(loaded, trial, tmp_path).app) as client:
        for _ in range(5):
            assert client.post("/predict", json={"texts": ["my parcel is late", "it is lost"]}).json()["model"] == "a"
            time.sleep(0.01)
        end = time.monotonic() + 20
        while (told := client.get("/trial").json())["compared"] < 10 and time.monotonic() < end:
            time.sleep(0.01)
        assert (told["compared"], told["same"], told["share"]) == (10, 0, 0.0)


def test_what_is_found_agrees_without_scores() -> None:
    """Entities by label and place, objects by label and overlap, one to one; other answers as they are."""
    ann, lee = ({"label": "PER", "start": start, "end": start + 3, "score": 0.9} for start in (0, 4))
    assert agree([ann, lee], [lee | {"score": 0.4}, ann]) and agree([], [])
    assert not agree([ann], []) and not agree([ann], [ann, lee]) and not agree([ann], [ann | {"label": "ORG"}])
    one, two = ({"label": "A", "score": 0.9, "box": [left, 0.0, left + 10, 10.0]} for left in (0.0, 3.0))
    assert agree([one], [two]) and agree([one, two], [two, one])
    assert not agree([one], [two | {"label": "B"}]) and not agree([one, one], [two, two | {"box": [90, 0, 95, 5]}])
    assert not agree([one], [one | {"box": [6, 0, 16, 10]}])
    assert agree("a", "a") and not agree("a", "b") and agree(["x"], ["x"]) and not agree(["x"], ["y"])


def test_mistakes_are_told() -> None:
    names = {"a": 1, "b": 2}
    assert trial_of(None, None, names) is None
    assert trial_of("b=0.3", None, names) == Trial("a", "b", 0.3)
    assert trial_of(None, "b", names) == Trial("a", "b", 0.0)
    cases = [("b=0.3", "b", "--share or --shadow"), ("a=0.3", None, "a second model"), ("b", None, "such as b=0.2"),
             ("b=1", None, "between 0 and 1"), ("b=nan", None, "between 0 and 1"), (None, "c", "one of b")]  # fmt: skip
    for share, shadow, message in cases:
        with pytest.raises(HarnessError, match=message):
            trial_of(share, shadow, names)
    with pytest.raises(HarnessError, match="add NAME=PATH"):
        trial_of("b=0.2", None, {"a": 1})
