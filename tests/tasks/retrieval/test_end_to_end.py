"""A study of retrieval from end to end: trials, confirmations, report, saved models, predictions, service; refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.serving.predict import load
from harness.serving.predict import main as predict

Main = Callable[..., tuple[int, str]]
SMALL = ("task=demo_retrieval", "task.train_per_article=3", "task.validation_per_article=2", "task.test_per_article=2")
METHODS = ("bm25", "zero_shot", "lora")


def test_a_study_of_retrieval(tmp_path: Path, main: Main) -> None:
    """Words, pretrained vectors and trained ones side by side; saved models give what their runs gave."""
    code, printed = main(
        "-m", "study=help", *SMALL, f"method={','.join(METHODS)}", "train.epochs=1", "tune.trials=1",
        "tune.sampler=random", "confirm.seeds=1", "keep=all", "launch.kind=inline", "task.max_length=32",
        "train.temperature=tag(log,interval(0.02,0.2))",
    )  # fmt: skip
    assert code == 0, printed
    study, tables = tmp_path / "runs" / "help", {}
    for method in METHODS:
        record_file = next(study.glob(f"runs/*.{method}/confirm-*/record.json"))
        record = json.loads(record_file.read_text(encoding="utf-8"))
        assert record["data"]["family"] == "retrieval" and record["data"]["passages"] == 40
        assert (record["cost"]["params_trainable"] > 0) == (method == "lora")
        table = pd.read_parquet(record_file.parent / "predictions.parquet").query("split == 'test'")
        for metric, value in record["metrics"]["test"].items():
            assert table[f"score_{metric}"].mean() == pytest.approx(value, abs=1e-9)
        directory = record_file.parent / "model"
        assert (directory / "passages.safetensors").is_file() == (method != "bm25")
        model = load(directory, device="cpu")
        answers = model.predict(table["query"].tolist())
        assert [row[0]["passage"] for row in answers] == table["first"].tolist()
        found = [[each["score"] for each in row] for row in answers]
        np.testing.assert_allclose(found, table["top_scores"].tolist(), atol=1e-4)
        assert model.predict([]) == []
        tables[method] = (directory, table)
    page = (tmp_path / "reports" / "help" / "index.html").read_text(encoding="utf-8")
    assert "whose passage is ranked lowest" in page and "found instead" in page
    directory, table = tables["lora"]
    (tmp_path / "asked.csv").write_text("text\nWhere is my parcel?\n我的包裹\n", encoding="utf-8")
    assert predict([str(directory), "asked.csv", "--output", "out.csv"]) == 0
    out = pd.read_csv("out.csv")
    assert list(out.columns) == ["text", "prediction", "score", "passage", "top"]
    top = json.loads(out["top"][0])
    assert len(top) == 10 and top[0]["id"] == out["prediction"][0] and top[0]["passage"] == out["passage"][0]
    with pytest.raises(HarnessError, match="number 1 is int"):
        load(directory, device="cpu").predict([1])  # type: ignore[list-item]
    facts = json.loads((directory / "harness.json").read_text(encoding="utf-8"))
    (directory / "harness.json").write_text(json.dumps(facts | {"passages": facts["passages"][:7], "names": []}))
    with pytest.raises(HarnessError, match="does not describe an index of its passages"):
        load(directory, device="cpu")
    served(tables["bm25"][0])


def served(directory: Path) -> None:
    """The service answers with passages, as many as are asked for, and takes a text as the right answer."""
    from fastapi.testclient import TestClient

    from harness.serve.app import Service
    from harness.serve.feedback import FeedbackStore
    from harness.serve.keys import Keys
    from harness.serve.loading import load_one
    from harness.serve.settings import Settings

    model = load_one(directory, "cpu", directory / "cache", "auto")
    assert model.engine == "torch"
    service = Service({"help": model}, Settings(), Keys({}), FeedbackStore(directory.parent / "feedback"))
    with TestClient(service.app) as client:
        answer = client.post("/predict", json={"texts": ["a refund"], "top": 2}).json()["predictions"][0]
        assert len(answer["passages"]) == 2 and answer["prediction"] == answer["passages"][0]["id"]
        assert client.post("/feedback", json={"text": "a refund", "label": "refund_request"}).status_code == 201
        assert client.get("/models").json()["models"][0]["retrieves"] is True


def test_training_lifts_recall_and_resumes_alike(tmp_path: Path, main: Main) -> None:
    """Folds, several passages a query, given negatives and R-Drop in one run; two runs are equal."""
    words = ["cats", "dogs", "tea", "milk", "sun", "moon"]
    rows = [
        {"query": f"{word} number {n}", "passage": [f"about {word}", f"more on {word}"], "no": f"about {other}"}
        for word, other in zip(words, words[1:] + words[:1], strict=True)
        for n in range(8)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = (
        "task=retrieval", "task.path=rows.jsonl", "task.negatives=no", "task.validation=kfold", "task.folds=2",
        "task.name=words", "method=last_layers", "train.epochs=1", "train.batch_size=8", "regularise=r_drop",
        "train.dropout=0.1", "task.max_length=16",
    )  # fmt: skip
    scores = []
    for runs in ("one", "two"):
        code, printed = main(*command, f"runs_dir={runs}")
        assert code == 0, printed
        record = json.loads(next((tmp_path / runs).rglob("record.json")).read_text(encoding="utf-8"))
        scores.append(record["metrics"])
        assert record["data"]["relevant_mean"] == 2 and record["data"]["with_negatives"] > 0
        assert record["cost"]["folds"] == 2
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method=linear_probe",), "is for text_classification, text_regression"),
        (("method=lora", "train.accumulate=2"), "train.accumulate=2 has no meaning for task=demo_retrieval"),
        (("method=lora", "train.label_smoothing=0.1"), "between classes"),
        (("method=lora", "train.fgm=0.1"), "one text a row"),
        (("method=lora", "train.temperature=0"), "train.temperature must be a number above 0"),
        (("method=lora", "train.temperature=nan"), "train.temperature"),
        (("method=lora", "model.pooling=model"), "model.pooling=model is not for retrieval: choose mean, cls, last"),
        (("method=lora", "model=interactions"), "Models that read texts"),
        (("method=popularity",), "is for recommendation"),
        (("method=bm25", "method.b=1.5"), "method.b must lie in [0, 1]"),
        (("method=bm25", "method.k1=-1"), "method.k1 must be a number of 0 or more"),
        (("method=lora", "augment=eda"), "copies texts with a label"),
        (("method=lora", "task.metric=mrr"), "Unknown task.metric mrr. Known: loss, mrr_at_10"),
        (("task=demo", "method=lora", "train.temperature=0.1"), "it is for retrieval. Leave it at 0.05"),
        (("task=demo", "method=bm25"), "method=bm25 is for retrieval"),
        (("task=retrieval", "method=lora"), "needs a file of queries with their passages"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[str, ...], told: str, main: Main) -> None:
    """Before anything starts."""
    task = () if any(each.startswith("task=") for each in arguments) else ("task=demo_retrieval",)
    code, printed = main(*task, *arguments)
    assert code == 2 and told in printed, printed
    assert "Traceback" not in printed
