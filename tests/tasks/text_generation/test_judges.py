"""Judges of one's own and slots: metrics whose means are their values, and what is refused."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.api.metric import Undefined
from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.runs import measurements
from harness.tasks.text_generation.data import WRITTEN, Conversation, References
from harness.tasks.text_generation.metrics import METRICS
from harness.tasks.text_generation.metrics.judges import Judge
from harness.tasks.text_generation.metrics.slots import contains
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import WORDS

Main = Callable[..., tuple[int, str]]
JUDGE = '''
class Short:
    """How much shorter than a limit an output is."""

    def __init__(self, limit=40):
        self.limit = limit

    def __call__(self, prompts, references, outputs):
        assert all(prompt.startswith("Say") for prompt in prompts)
        assert all(isinstance(each, tuple) for each in references)
        return [max(0.0, 1 - len(text) / self.limit) for text in outputs]
'''


def rows(
    outputs: list[str], references: list[tuple[str, ...]], slots: list[tuple[str, ...]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Targets and predictions."""
    found = np.zeros(len(outputs), dtype=WRITTEN)
    found["text"] = outputs
    targets = np.empty(len(outputs), dtype=object)
    targets[:] = [
        References.of(texts, Conversation("Say it", texts[0], slots=each))
        for texts, each in zip(references, slots, strict=True)
    ]
    return targets, found


@pytest.mark.parametrize(
    ("output", "slot", "right"),
    [
        ("We refund 14.90 euros.", "14.90 euros", True),
        ("We refund 14.90 euros.", "4.90 euros", False),
        ("It takes 30 days", "0 days", False),
        ("It takes 30.", "30", True),
        ("It takes 30.5", "30", False),
        ("order a1234,\nfor FREE", "A1234", True),
        ("for\n FREE", "for free", True),
        ("freedom", "free", False),
        ("推荐您去故宫 4.7分。", "4.7分", True),
        ("", "free", False),
    ],
)
def test_contains(output: str, slot: str, right: bool) -> None:
    """Numbers and words are whole; letter case and white space do not matter."""
    assert contains(output, slot) == right


def test_slots() -> None:
    """Over all slots, and over outputs; rows without slots are right, and count no slot."""
    targets, found = rows(["a1 and b2", "a1", "x"], [("r",)] * 3, [("a1", "b2"), ("a1", "b2"), ()])
    assert METRICS["slot_accuracy"].value(targets, found) == 3 / 4
    assert METRICS["slot_accuracy"].per_row(targets, found).mean() == pytest.approx(3 / 4)
    assert METRICS["joint_slot_accuracy"].per_row(targets, found).tolist() == [1, 0, 1]
    with pytest.raises(Undefined):
        METRICS["slot_accuracy"].value(*rows(["a"], [("r",)], [()]))


def test_a_judge_is_asked_once() -> None:
    """For the value and for the scores of rows, and again for other outputs."""
    asked: list[list[str]] = []

    def judge(prompts: list[str], references: list[tuple[str, ...]], outputs: list[str]) -> list[float]:
        asked.append(outputs)
        return [float(text in texts) for text, texts in zip(outputs, references, strict=True)]

    metric = Judge(judge).metric("right")
    targets, found = rows(["a", "b"], [("a", "c"), ("a",)], [(), ()])
    assert metric.value(targets, found) == 0.5 and metric.per_row(targets, found).tolist() == [1, 0]
    assert asked == [["a", "b"]]
    found["text"] = ["c", "a"]
    assert metric.value(targets, found) == 1.0 and len(asked) == 2
    assert Judge(judge).digest == Judge(functools.partial(judge)).digest != Judge(rows).digest


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (lambda *_: [0.5], "an array of the shape (1,) for 2 outputs"),
        (lambda *_: [0.5, 2.0], "other numbers"),
        (lambda *_: [0.5, float("nan")], "other numbers"),
        (lambda *_: [0.5, "good"], "failed: could not convert"),
        (lambda one: [0.5, 0.5], "failed:"),
    ],
)
def test_wrong_scores(judge: Any, told: str) -> None:
    """Are told with what a judge returns."""
    with pytest.raises(HarnessError) as caught:
        Judge(judge).metric("odd").value(*rows(["a", "b"], [("a",), ("b",)], [(), ()]))
    assert told in str(caught.value) and "a score from 0 to 1 for each output" in str(caught.value)


def asked(path: Path, *more: str) -> tuple[str, ...]:
    """A run on a file."""
    return (
        "task=text_generation", f"task.path={path}", "task.doc_to_text='Say {{p}}'", "task.completion=c",
        "task.slots=s", "task.name=own", "task.generate.max_new_tokens=3", "device=cpu", "method=zero_shot", *more,
    )  # fmt: skip


def test_a_judge_selects(tmp_path: Path, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a package of one's own, with its settings."""
    monkeypatch.setattr(measurements, "SECONDS", 0.1)
    (tmp_path / "own_judges.py").write_text(JUDGE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "rows.jsonl"
    lines = [{"p": f"{one} {two}", "c": f"{one}!", "s": [one]} for one in WORDS[:4] for two in WORDS[4:8]]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    model = tiny_writers.saved(tmp_path / "model", tiny_writers.decoder)
    own = ("model=own", f"model.path={model}", "model.name=tiny")
    node = "task.judges={brief:{_target_:own_judges.Short,limit:30}}"
    code, printed = main(*asked(path, node, "task.metric=brief", "packages=[own_judges]", *own))
    assert code == 0, printed
    [file] = tmp_path.glob("runs/single/runs/*/*/predictions.parquet")
    table = pd.read_parquet(file).query("split == 'test'")
    expected = [max(0.0, 1 - len(text) / 30) for text in table["prediction"]]
    assert table["score_brief"].tolist() == pytest.approx(expected)
    assert table["score_joint_slot_accuracy"].isin([0, 1]).all()
    record = json.loads((file.parent / "record.json").read_text(encoding="utf-8"))
    assert record["metrics"]["test"]["brief"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("judges", "metric", "packages", "told"),
    [
        ({"brief": {"_target_": "own_judges.Short"}}, "brief", (), "packages=[own_judges]"),
        ({"bleu": {"_target_": "own_judges.Short"}}, "loss", ("own_judges",), "bleu is a metric already"),
        ({"brief": {"_target_": "own_judges.Shorter"}}, "loss", ("own_judges",), "Shorter"),
        ({"brief": {"_target_": "own_judges.Short", "most": 3}}, "loss", ("own_judges",), "most"),
        ({"brief": "own_judges.Short"}, "loss", ("own_judges",), "an object of a class of your own"),
        ({"not so": {"_target_": "own_judges.Short"}}, "loss", ("own_judges",), "letters, digits and _"),
        (["own_judges.Short"], "loss", ("own_judges",), "task.judges names judges"),
        (None, "brief", (), "Unknown task.metric brief"),
    ],
)
def test_what_is_refused(
    judges: Any, metric: str, packages: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any row is read."""
    (tmp_path / "own_judges.py").write_text(JUDGE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_judges", raising=False)
    node = {"kind": "text_generation", "name": "own", "metric": metric, "judges": judges, "path": "x", "text": "x"}
    with pytest.raises(HarnessError) as caught:
        build(node, packages).load()
    assert told in str(caught.value)
