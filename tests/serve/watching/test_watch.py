"""A service counts its answers; `harness watch` says whether they are still like those for validation rows."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from harness.errors import HarnessError
from harness.records.run_spec import RunSpec
from harness.serve.app import Service
from harness.serve.feedback import FeedbackStore
from harness.serve.keys import Keys
from harness.serve.loaded import Loaded
from harness.serve.loading import load_one
from harness.serve.settings import Settings
from harness.serve.watching import collecting
from harness.serve.watching.__main__ import main
from harness.serve.watching.collecting import StatisticsStore
from harness.serve.watching.windows import read_windows


class Clock:
    """Time that a test moves on."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def model(judging: RunSpec, cache: Path) -> Loaded:
    """A model with detectors of rows of no class."""
    return load_one(judging.paths.model, "cpu", cache, "torch")


def texts_of(judging: RunSpec, split: str) -> list[str]:
    table = pd.read_csv(judging.paths.directory.parents[1] / f"{split}.csv")
    return [str(text) for text in table.query("topic != 'weather'")["text"]]


def service(model: Loaded, directory: Path, clock: Clock | None = None, precision: float | None = None) -> Service:
    store = StatisticsStore(directory / "statistics", {"m": model}, clock or Clock())
    return Service(
        {"m": model}, Settings(drain=0.0), Keys(), FeedbackStore(directory / "feedback"), precision, statistics=store
    )


def ask(client: TestClient, clock: Clock, texts: list[str], count: int, seed: int) -> None:
    """Ask for some of the texts, a minute apart."""
    source = random.Random(seed)
    for start in range(0, count, 50):
        clock.now += 60
        body = {"texts": source.choices(texts, k=min(50, count - start))}
        assert client.post("/predict", json=body).status_code == 200


def lines(directory: Path) -> list[dict[str, Any]]:
    files = sorted((directory / "statistics" / "m").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def watched(judging: RunSpec, directory: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Any]:
    code = main([str(judging.paths.model), str(directory / "statistics"), "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_unchanged_and_changed_traffic(
    judging: RunSpec, model: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of the test file raise no alarm; new topics among them do, in class mix or confidence or distance."""
    clock = Clock()
    usual = texts_of(judging, "validation")
    with TestClient(service(model, tmp_path, clock).app) as client:
        ask(client, clock, usual, 1000, 1)
        code, found = watched(judging, tmp_path, capsys)
        assert (code, found["drift"], found["looks"], found["answers"]) == (0, False, 4, 1000)
        assert {each["kind"] for each in found["last"]["findings"]} == {"classes", "confidence", "distance"}
        assert found["reference"] == {"rows": 180, "of": "validation"} and found["live_score"] is None
        strange = [f"{word} of {word} in the garden {n}" for n, word in enumerate(["trees", "a cat", "music"] * 4)]
        ask(client, clock, [*usual[: len(strange) * 2], *strange], 500, 2)
    code, found = watched(judging, tmp_path, capsys)
    assert (code, found["drift"], found["first"]["number"] in (5, 6)) == (1, True, True)
    (distance,) = [each for each in found["first"]["findings"] if each["kind"] == "distance"]
    (change,) = distance["changes"]
    assert distance["drift"] and change["now"] > change["before"] and "below" in change["what"]
    assert main([str(judging.paths.model), str(tmp_path / "statistics")]) == 1
    told = capsys.readouterr().out
    assert "Drift of" in told and "first told at look" in told and " -> " in told
    early = found["first"]["time"]
    code, later = watched(judging, tmp_path, capsys, "--since", early)
    assert later["answers"] < found["answers"]
    content = "".join(file.read_text() for file in tmp_path.glob("statistics/**/*.jsonl"))
    assert "garden" not in content and "parcel" not in content  # no text is kept
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.glob("statistics/m/*")} == {"0o600"}


def test_feedback_shows_a_worse_score(
    judging: RunSpec, model: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, labels = Clock(), model.labels
    with TestClient(service(model, tmp_path, clock, 0.5).app) as client:
        ask(client, clock, texts_of(judging, "validation"), 300, 3)
        for number in range(60):
            row = {"text": "my parcel", "predicted": labels[0], "label": labels[number % 3 == 0]}
            assert client.post("/feedback", json=row).status_code == 201
        client.post("/feedback", json={"text": "my parcel", "label": labels[0]})  # says not what was answered
        ask(client, clock, texts_of(judging, "validation"), 250, 4)
    code, found = watched(judging, tmp_path, capsys)
    assert code == 1 and found["live_score"]["rows"] == 60
    assert found["live_score"]["share"] == pytest.approx(2 / 3)
    assert found["live_score"]["high"] < found["study_score"]["low"]
    (feedback,) = [each for each in found["last"]["findings"] if each["kind"] == "feedback"]
    assert feedback["drift"] and feedback["changes"][0]["now"] == pytest.approx(1 / 3)


def test_windows_survive_restarts(model: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows end by rows and time; a stop writes the rest; another process has a file of its own; old files go."""
    clock = Clock()
    with TestClient(service(model, tmp_path, clock).app) as client:
        ask(client, clock, ["my parcel is late"], 250, 5)
        assert [line["rows"] for line in lines(tmp_path)] == [250]
        clock.now += collecting.MOST_SECONDS + 1
        client.post("/predict", json={"texts": ["my parcel"] * 3})
        client.post("/predict", json={"text": "my parcel"})
    assert sum(line["rows"] for line in lines(tmp_path)) == 254
    with TestClient(service(model, tmp_path, clock).app) as client:
        client.post("/predict", json={"texts": ["my parcel"] * 7})
    assert sum(line["rows"] for line in lines(tmp_path)) == 261
    folder = tmp_path / "statistics" / "m"
    assert len(list(folder.iterdir())) == 2
    (first, *_) = sorted(folder.iterdir())
    with first.open("a") as file:
        file.write('{"format": 1, "rows": 9}\n[]\n' + "9" * 5000 + "\ncut {")
    windows, damaged = read_windows(tmp_path / "statistics")
    assert sum(window.rows for window in windows) == 261 and damaged == 4
    assert len(read_windows(folder)[0]) == len(windows)
    monkeypatch.setattr(collecting, "FILE_BYTES", 2000)
    monkeypatch.setattr(collecting, "FOLDER_BYTES", 20_000)
    store = StatisticsStore(tmp_path / "bounded", {"m": model}, clock)
    judged = replace(model.judged(["my parcel"] * 250, None), by=model)
    for _ in range(100):
        store.add("m", judged, [])
        clock.now += 61
    store.flush()
    sizes = [file.stat().st_size for file in (tmp_path / "bounded" / "m").iterdir()]
    assert sum(sizes) <= 20_000 and max(sizes) <= 2000 and len(sizes) > 3


def test_full_disk_loses_nothing(
    model: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is kept, told once, and written later."""
    clock = Clock()
    store = StatisticsStore(tmp_path / "statistics", {"m": model}, clock)
    judged = replace(model.judged(["my parcel"] * 10, None), by=model)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(collecting, "write_whole", full)
        for _ in range(4):
            store.add("m", judged, [])
            clock.now += 601
    assert caplog.text.count("No space left") == 1
    store.flush()
    assert [line["rows"] for line in lines(tmp_path)] == [40]


def test_another_model_starts_anew(model: Loaded, judging: RunSpec, tmp_path: Path) -> None:
    """After a swap, counts go to the digest of the new files."""
    clock = Clock()
    store = StatisticsStore(tmp_path / "statistics", {"m": model}, clock)
    other = replace(model, facts={**model.facts, "files_digest": "f" * 64})
    for each in (model, other):
        store.add("m", replace(model.judged(["my parcel"], None), by=each), [])
    store.flush()
    assert [line["digest"] for line in lines(tmp_path)] == [model.digest, "f" * 16]


def test_mistakes_are_told(judging: RunSpec, model: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main([str(judging.paths.model), *arguments]) == 2
        return capsys.readouterr().err

    assert "is no folder" in said(str(tmp_path / "none"))
    assert "has no statistics yet" in said(str(tmp_path))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "x.jsonl").write_text('{"format": 1}\n')
    assert "1 line in it is damaged" in said(str(damaged))
    for option, value, message in (
        ("--error", "1", "between 0 and 1"), ("--error", "nan", "between 0 and 1"),
        ("--since", "now", "is no time"),
    ):  # fmt: skip
        assert message in said(str(tmp_path), option, value)
    store = StatisticsStore(tmp_path / "statistics", {"m": model}, Clock())
    other = replace(model, facts={**model.facts, "files_digest": "f" * 64})
    store.add("m", replace(model.judged(["my parcel"], None), by=other), [])
    store.flush()
    assert f"only of m ({'f' * 16})" in said(str(tmp_path / "statistics"))
    store.add("m", replace(model.judged(["my parcel"], None), by=model), [])
    store.flush()
    assert "after 2099" in said(str(tmp_path / "statistics"), "--since", "2099-01-01")
    assert main([str(judging.paths.model), str(tmp_path / "statistics")]) == 0
    assert "the first look is after 250 answers" in capsys.readouterr().out
    with pytest.raises(HarnessError, match="has none"):
        StatisticsStore(tmp_path, {})
    blind = replace(model, predictor=Blind(model.predictor))
    with pytest.raises(HarnessError, match="earlier version"):
        StatisticsStore(tmp_path, {"m": blind})
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"--statistics .* cannot be used"):
        StatisticsStore(tmp_path / "file", {"m": model})


class Blind:
    """A predictor of an earlier version, which knows nothing of its reliability."""

    confidence = None

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
