"""A second model on trial: its share of the requests, its shadow, and what feedback says of it."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from harness.errors import HarnessError
from harness.serve.app import Service
from harness.serve.feedback import FeedbackStore
from harness.serve.keys import Keys
from harness.serve.live.trial import Trial, trial_of
from harness.serve.loaded import Loaded
from harness.serve.settings import Settings
from tests.serve.live.test_reloading import Answering


def service(loaded: Loaded, trial: Trial, directory: Path) -> Service:
    """Two models that always answer the first and the second class."""
    models = {name: replace(loaded, predictor=Answering(loaded.predictor, place)) for place, name in enumerate("ab")}
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
                assert client.post(f"/models/{name}/feedback", json=row).status_code == 201
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
    again.resume(tmp_path, {"a": loaded.digest, "b": loaded.digest})
    assert again.told()["feedback"] == told["feedback"] and again.told()["look"] == told["look"]
    gone = Trial("a", "b", 0.2)
    gone.resume(tmp_path, {"a": "f" * 16, "b": "f" * 16})
    assert gone.told()["feedback"]["a"]["feedback"] == 0


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
