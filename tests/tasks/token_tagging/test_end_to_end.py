"""A study of tags from end to end: trials, confirmations, report, saved model, prediction; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.serving.predict import load
from harness.serving.predict import main as predict
from harness.tasks.token_tagging.data import as_objects
from harness.tasks.token_tagging.metrics import ENTITY_METRICS, METRICS, TAGGED
from tests.helpers.small_dataset import shorten

Main = Callable[..., tuple[int, str]]

PEOPLE = ("Ann Lee", "Bob", "Eve Stone", "Ida")
THINGS = ("kettle", "desk lamp", "tent", "coat")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Sentences with people and things; every eighth is longer than a window."""
    path = tmp_path / "names.conll"
    draw = np.random.default_rng(0)
    lines = []
    for row in range(96):
        parts = [("hello", "O"), (f"from{row}", "O")]
        for _ in range(12 if row % 8 == 0 else 1):
            for kind, names in (("person", PEOPLE), ("thing", THINGS)):
                words = str(draw.choice(names)).split()
                parts += [(word, f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(words)]
                parts.append(("has" if kind == "person" else ".", "O"))
        lines.append("".join(f"{word}\t{tag}\n" for word, tag in parts))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_study_of_tags(rows: Path, tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of a study shows entities, and the saved model finds them in words and in texts."""
    code, printed = main(
        "-m", "study=names", "task=conll", f"task.path={rows}", "task.name=names", "task.metric=entity_f1",
        "method=linear_probe,lora", "model=own", f"model.path={shorten()}", "model.name=short", "task.max_length=24",
        "train.epochs=1", "tune.trials=2", "tune.sampler=random", "confirm.seeds=2", "keep=all", "launch.kind=inline",
        "regularise=r_drop", "train.dropout=0.1",
    )  # fmt: skip
    assert code == 0, printed
    assert "entity F1" in printed
    study = tmp_path / "runs" / "names"
    confirmed = sorted(study.glob("runs/*lora/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "token_tagging" and record["data"]["entities"]["person"] > 0
    table = pd.read_parquet(confirmed[0].parent / "predictions.parquet").query("split == 'test'")
    targets, found = stored(table)
    for metric in (*ENTITY_METRICS, "token_accuracy"):
        value = record["metrics"]["test"][metric]
        assert METRICS[metric].value(targets, found) == pytest.approx(value, abs=1e-9)
        assert table[f"score_{metric}"].mean() == pytest.approx(value, abs=1e-9)
    page = (tmp_path / "reports" / "names" / "index.html").read_text(encoding="utf-8")
    assert "missed and wrong entities" in page and "types-" in page and "confusion" not in page
    model = confirmed[0].parent / "model"
    predictor = load(model, device="cpu")
    words = [json.loads(row) for row in table["tokens"]]
    assert [tuple(tags) for tags in predictor.predict(words)] == list(found["tags"])
    assert predictor.predict([]) == []
    spans, nothing = predictor.predict(["hello from7 Ann Lee has tent .", "  "])
    text = "hello from7 Ann Lee has tent ."
    assert all(text[each["start"] : each["end"]] == each["text"] for each in spans) and nothing == []
    monkeypatch.chdir(tmp_path)
    files_of_all_kinds(model, words[:3], list(found["tags"][:3]))


def stored(table: pd.DataFrame) -> tuple[Any, Any]:
    """Targets and predictions as metrics take them."""
    found = np.zeros(len(table), dtype=TAGGED)
    found["tags"] = as_objects([tuple(json.loads(row)) for row in table["prediction"]])
    return as_objects([tuple(json.loads(row)) for row in table["label"]]), found


def files_of_all_kinds(model: Path, words: list[list[str]], tags: list[tuple[str, ...]]) -> None:
    """A word a line in and out, lists of words, a text a line."""
    Path("new.conll").write_text("\n\n".join("\n".join(row) for row in words), encoding="utf-8")
    assert predict([str(model), "new.conll", "--output", "out.conll"]) == 0
    sentences = Path("out.conll").read_text(encoding="utf-8").strip().split("\n\n")
    assert [tuple(line.split("\t")[1] for line in each.split("\n")) for each in sentences] == tags
    Path("new.jsonl").write_text("\n".join(json.dumps({"tokens": row, "n": 1}) for row in words), encoding="utf-8")
    assert predict([str(model), "new.jsonl", "--output", "out.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [tuple(row["prediction"]) for row in rows] == tags and list(rows[0])[:3] == ["tokens", "n", "prediction"]
    Path("new.txt").write_text("hello from9 Bob has coat .\n", encoding="utf-8")
    assert predict([str(model), "new.txt", "--output", "out.csv"]) == 0
    (row,) = pd.read_csv("out.csv").to_dict("records")
    assert json.loads(row["words"]) == ["hello", "from9", "Bob", "has", "coat", "."]
    Path("bad.jsonl").write_text('{"tokens": 3}\n', encoding="utf-8")
    assert predict([str(model), "bad.jsonl"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method=knn",), "is for text_classification"),
        (("-m", "method=lora,setfit"), "method=setfit is for text_classification"),
        (("augment=eda",), "copies texts with a label"),
        (("task.metric=accuracy",), "Known: entity_f1"),
        (("task.validation=pool",), "must be one of split, kfold or null"),
    ],
)
def test_what_tags_do_not_have_is_refused(arguments: tuple[str, ...], told: str, main: Main) -> None:
    """Before anything starts."""
    code, printed = main("task=demo_tags", *arguments)
    assert code == 2 and told in printed, printed
