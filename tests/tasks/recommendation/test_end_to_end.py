"""A study of recommenders from end to end: trials, confirmations, report, saved models, predictions; refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.serving.predict import load
from harness.serving.predict import main as predict
from harness.tasks.recommendation.demo import DemoRatings

Main = Callable[..., tuple[int, str]]


def test_a_study_of_recommenders(tmp_path: Path, main: Main) -> None:
    """Closed forms and the transformer side by side; saved models answer for users by name and for histories."""
    code, printed = main(
        "-m", "study=books", "task=demo_ratings", "task.users=80", "task.visits=12", "model=interactions",
        "method=popularity,ease,sasrec", "train.epochs=2", "tune.trials=2", "tune.sampler=random", "confirm.seeds=2",
        "keep=all", "launch.kind=inline", "task.max_length=8", "method.length=8",
    )  # fmt: skip
    assert code == 0, printed
    load_it, call = re.search(r"model = (load\(.+\))\n +model\.(predict\(.+\))", printed).groups()  # type: ignore[union-attr]
    assert len(eval(f"{load_it}.{call}", {"load": load})[0]) == 10
    study = tmp_path / "runs" / "books"
    data = DemoRatings(name="demo_ratings", users=80, visits=12, max_length=8).load()
    for method in ("popularity", "ease", "sasrec"):
        record_file = next(study.glob(f"runs/*.{method}/confirm-*/record.json"))
        record = json.loads(record_file.read_text(encoding="utf-8"))
        assert record["data"]["family"] == "recommendation" and record["data"]["items"] == len(data.items)
        assert record["cost"]["params_trainable"] > 0
        table = pd.read_parquet(record_file.parent / "predictions.parquet").query("split == 'test'")
        for metric, value in record["metrics"]["test"].items():
            assert table[f"score_{metric}"].mean() == pytest.approx(value, abs=1e-9)
        assert ((table["rank"] <= 10) == (table["score_recall_at_10"] > 0)).all()
        model = load(record_file.parent / "model", device="cpu")
        rows = [[data.items[item] for item in history] for history in data.test.histories]  # type: ignore[attr-defined]
        titles = [json.loads(each) for each in table["top"]]
        answers = model.predict(rows)  # type: ignore[arg-type]  # histories may be lists
        assert [[data.titles[data.items.index(item)] for item in row] for row in answers] == titles
        assert all(not set(answer) & set(row) for answer, row in zip(answers, rows, strict=True))
    page = (tmp_path / "reports" / "books" / "index.html").read_text(encoding="utf-8")
    assert "whose next item is ranked lowest" in page and "popularity-" in page
    directory = next(study.glob("runs/*.ease/confirm-*/model"))
    pd.DataFrame({"user": ["reader0003", "b0000; b0001", '["b1000"]']}).to_csv("who.csv", index=False)
    assert predict([str(directory), "who.csv", "--output", "out.csv"]) == 0
    out = pd.read_csv("out.csv")
    assert list(out.columns) == ["user", "prediction", "titles"] and len(out["prediction"][0].split("; ")) == 10
    assert not {"b0000", "b0001"} & set(out["prediction"][1].split("; "))
    with pytest.raises(HarnessError, match=r"neither a user of training, nor an item .*'nobody'"):
        load(directory, device="cpu").predict(["nobody"])
    with pytest.raises(HarnessError, match="have no item"):
        load(directory, device="cpu").predict([""])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method=lora", "model=interactions"), "Methods that are: popularity, item_knn, ease and sasrec"),
        (("method=ease", "model=minilm"), "Models that read interactions: interactions"),
        (("method=ease", "model=interactions", "task.split=random"), "Known: leave_one_out, temporal"),
        (("method=sasrec", "model=interactions", "train.fgm=0.1"), "embeddings of tokens"),
        (
            ("method=sasrec", "model=interactions", "task.max_length=50"),
            "method.length=200: training reads the last 50 items of a history (task.max_length), so 150 positions",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[str, ...], told: str, main: Main) -> None:
    """Before anything starts."""
    code, printed = main("task=demo_ratings", *arguments)
    assert code == 2 and told in printed, printed


def test_texts_and_interactions_are_told_apart(main: Main) -> None:
    """Recommenders are not for texts."""
    code, printed = main("task=demo", "method=ease", "model=interactions")
    assert code == 2 and "is for recommendation" in printed, printed
    assert np.all([word in printed for word in ("reads interactions", "are texts")])
