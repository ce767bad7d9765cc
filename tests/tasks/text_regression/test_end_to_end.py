"""A study of numbers from end to end: trials, confirmations, report, saved model, prediction; fused and alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.serve.__main__ import main as serve
from harness.serving.predict import load
from harness.serving.predict import main as predict
from harness.tasks.text_regression.metrics import METRICS

Main = Callable[..., tuple[int, str]]

WORDS = ("fine", "good", "great", "poor", "bad", "awful", "plain", "dull")
WORTH = dict(zip(WORDS, (1.0, 2.0, 3.0, -1.0, -2.0, -3.0, 0.0, -0.5), strict=True))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Pairs of short reviews; the number says how far apart their words are."""
    draw = np.random.default_rng(0)
    path = tmp_path / "pairs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("one", "other", "distance"))
        for row in range(160):
            one, other = draw.choice(WORDS, 2)
            writer.writerow((f"a {one} thing {row}", f"a {other} thing", round(abs(WORTH[one] - WORTH[other]), 2)))
    return path


def test_a_study_of_numbers(rows: Path, tmp_path: Path, main: Main, capfd: pytest.CaptureFixture[str]) -> None:
    """Each part of a study shows numbers: nothing asks for classes, and the saved model predicts them."""
    code, printed = main(
        "-m", "study=pairs", "task=text_regression", f"task.path={rows}", "task.text=[one,other]",
        "task.label=distance", "task.name=pairs", "task.metric=pearson", "method=linear_probe,lora",
        "task.max_length=24", "train.epochs=1", "tune.trials=2", "tune.sampler=random", "confirm.seeds=2", "keep=all",
        "launch.kind=inline", "regularise=r_drop", "train.dropout=0.1",
    )  # fmt: skip
    assert code == 0, printed
    assert "pearson" in printed
    study = tmp_path / "runs" / "pairs"
    confirmed = sorted(study.glob("runs/*lora/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "text_regression"
    table = pd.read_parquet(confirmed[0].parent / "predictions.parquet").query("split == 'test'")
    targets, predictions = table["label"].to_numpy(), table["prediction"].to_numpy()
    for metric, value in record["metrics"]["test"].items():
        assert METRICS[metric].value(targets, predictions) == pytest.approx(value, abs=1e-9)
        assert table[f"score_{metric}"].mean() == pytest.approx(value, abs=1e-9)
    page = (tmp_path / "reports" / "pairs" / "index.html").read_text(encoding="utf-8")
    assert "largest errors" in page and "residuals-" in page and "confusion" not in page
    model = confirmed[0].parent / "model"
    sources = pd.read_csv(rows).loc[table["id"].to_numpy()]
    answers = load(model, device="cpu").predict(sources["one"].tolist(), sources["other"].tolist())
    np.testing.assert_allclose(answers, predictions, atol=1e-4)
    with pytest.raises(HarnessError, match="number 4 is NoneType"):
        load(model, device="cpu").predict(["a", "b"], ["c", None])  # type: ignore[list-item]  # what a data frame may hold
    assert serve([str(model), "--precision", "0.9", "--port", "0", "--engine", "torch"]) == 2
    assert "--precision is for models of classes" in capfd.readouterr().err
    assert predict([str(model), str(rows), "--text", "one", "--text", "other", "--output", "out.csv"]) == 0
    assert list(pd.read_csv("out.csv").columns) == ["one", "other", "distance", "prediction"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method=knn",), "is for text_classification"),
        (("-m", "method=lora,setfit"), "method=setfit is for text_classification"),
        (("train.label_smoothing=0.1",), "between classes"),
        (("-m", "method=lora", "'train.label_smoothing=interval(0,0.2)'"), "between classes"),
        (("task.metric=accuracy",), "Known: loss, mae, mse, pearson, spearman"),
        (("task.validation=pool",), "must be one of split, kfold or null"),
    ],
)
def test_what_numbers_do_not_have_is_refused(arguments: tuple[str, ...], told: str, main: Main) -> None:
    """Before anything starts, also where it is a choice of tuning."""
    code, printed = main("task=demo_similarity", *(argument.strip("'") for argument in arguments))
    assert code == 2 and told in printed, printed
