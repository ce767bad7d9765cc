"""Two models on the same rows: what the new one has learned and forgotten, without rows that it was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.export.compare_models import main
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[RunSpec, RunSpec]:
    """A model, and another one that was trained on feedback besides, which calls refunds passwords."""
    home = tmp_path_factory.mktemp("compared")
    old = spec(config(home, cache, "knn"), home / "runs" / "old")
    test = pd.read_csv(home / "test.csv")
    wrong = [text for text, topic in zip(test["text"], test["topic"], strict=True) if topic == "refund"]
    rows = [{"text": f"{text} {word}", "label": "password"} for text in wrong for word in ("today", "again")]
    (home / "feedback.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    new = spec(config(home, cache, "knn", {"feedback": str(home / "feedback.jsonl")}), home / "runs" / "new")
    execute(RunBatch((old, new)))
    return old, new


def test_learned_and_forgotten(
    models: tuple[RunSpec, RunSpec], tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Old test rows and new rows each have a line; counts agree with the shares; rows of training are left out."""
    old, new = models
    home = old.paths.directory.parents[1]
    trained = [json.loads(line) for line in (home / "feedback.jsonl").read_text().splitlines()]
    later = [{"text": f"{row['text']} sir", "label": "password", "id": 1} for row in trained[:6]]
    file = tmp_path / "later.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*later, *trained[:4]]))
    paths = [str(old.paths.model), str(new.paths.model)]
    assert main([*paths, "--rows", str(file), "--json", "--cache-dir", str(cache)]) == 0
    test, fresh = json.loads(capsys.readouterr().out)
    assert (test["rows"] + test["left_out"], fresh["rows"], fresh["left_out"]) == (24, 6, 4)
    for each in (test, fresh):
        assert each["new"] - each["old"] == pytest.approx((each["learned"] - each["forgotten"]) / each["rows"])
        assert each["low"] <= each["new"] - each["old"] <= each["high"]
    assert fresh["learned"] > fresh["forgotten"] and test["forgotten"] > 0
    assert test["classes"][0][0] == "refund" and test["classes"][0][2] <= 8
    assert main([*paths, "--cache-dir", str(cache)]) == 0
    told = capsys.readouterr().out
    assert f"{test['rows']} rows" in told and "forgotten most: refund" in told
    assert main([paths[0], paths[0], "--cache-dir", str(cache), "--json"]) == 0
    (same,) = json.loads(capsys.readouterr().out)
    assert same["learned"] == same["forgotten"] == 0 and same["low"] < 0 < same["high"]


def test_mistakes(
    models: tuple[RunSpec, RunSpec], tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = models
    home = old.paths.directory.parents[1]

    def said(*arguments: str) -> str:
        assert main([str(old.paths.model), str(new.paths.model), *arguments, "--cache-dir", str(cache)]) == 2
        return capsys.readouterr().err

    assert "the new model was trained on all of them" in said("--rows", str(home / "feedback.jsonl"))
    (tmp_path / "odd.csv").write_text("text,label\nhello,weather\n")
    assert "labels that neither model knows: 'weather'" in said("--rows", str(tmp_path / "odd.csv"))
    assert "--label" in said("--rows", str(tmp_path / "odd.csv"), "--label", "topic")
    (tmp_path / "odd.csv").write_text("text;label\nhello;refund\n")
    told = said("--rows", str(tmp_path / "odd.csv"))
    assert "begin the file with a line sep=;" in told and "--separator" not in told  # which is no option here
    (tmp_path / "odd.csv").write_text("sep=;\ntext;label\nhello;refund\n")
    assert main([str(old.paths.model)] * 2 + ["--rows", str(tmp_path / "odd.csv"), "--cache-dir", str(cache)]) == 0
    capsys.readouterr()
    assert "single texts: --text COLUMN" in said("--rows", str(tmp_path / "odd.csv"), "--text", "text", "pair")
    assert "--text names one column" in said("--rows", str(tmp_path / "odd.csv"), "--text", "a", "b", "c")
    assert "--cell x chooses a cell of a study" in said("--cell", "x")
    other = shutil.copytree(new.paths.model, tmp_path / "other")
    facts = json.loads((other / "harness.json").read_text())
    (other / "harness.json").write_text(json.dumps(facts | {"labels": [f"not {each}" for each in facts["labels"]]}))
    assert main([str(old.paths.model), str(other), "--cache-dir", str(cache)]) == 2
    assert "have no class in common" in capsys.readouterr().err
    (other / "harness.json").write_text(json.dumps(facts | {"family": "audio_classification", "max_seconds": 10.0}))
    assert main([str(other), str(other), "--cache-dir", str(cache)]) == 2
    assert "models of classes of texts" in capsys.readouterr().err
    assert "none.csv" in said("--rows", str(tmp_path / "none.csv"))
    assert main([str(tmp_path), str(new.paths.model), "--cache-dir", str(cache)]) == 2
