"""Error rates: those of jiwer; row scores have the rate as their mean and its bootstrap error; normalizers."""

from __future__ import annotations

from typing import Any

import jiwer
import numpy as np
import pytest

from harness.api.metric import Undefined
from harness.tasks.speech_recognition.alignment import aligned_text, errors_of
from harness.tasks.speech_recognition.metrics import metrics_of
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.speech_recognition.report.baseline import baseline
from harness.tasks.speech_recognition.vocabulary import spelled
from harness.tasks.text_generation.data import WRITTEN

WORDS = ("one", "two", "three", "four", "five")


def rows(count: int) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    said, written = [], []
    for _ in range(count):
        words = [WORDS[each] for each in draw.integers(0, 5, draw.integers(1, 8))]
        heard = [WORDS[draw.integers(0, 5)] if draw.random() < 0.2 else each for each in words if draw.random() > 0.1]
        said.append(" ".join(words))
        written.append(" ".join(heard + (["six"] if draw.random() < 0.1 else [])))
    targets = np.empty(count, dtype=object)
    targets[:] = [(each,) for each in said]
    predictions = np.zeros(count, dtype=WRITTEN)
    predictions["text"], predictions["tokens"], predictions["nll"] = written, 3, 1.5
    return targets, predictions


@pytest.mark.parametrize("name", ["wer", "cer", "sentences"])
def test_rates_and_their_standard_errors(name: str) -> None:
    targets, predictions = rows(300)
    metric = metrics_of("basic")[name]
    said, written = [each[0] for each in targets], list(predictions["text"])
    expected = {
        "wer": lambda: jiwer.wer(said, written), "cer": lambda: jiwer.cer(said, written),
        "sentences": lambda: np.mean([a == b for a, b in zip(said, written, strict=True)]),
    }[name]()  # fmt: skip
    scores = metric.per_row(targets, predictions)
    assert metric.value(targets, predictions) == pytest.approx(expected)
    assert scores.mean() == pytest.approx(expected)
    draw = np.random.default_rng(1)
    again = [metric.value(targets[each], predictions[each]) for each in draw.integers(0, 300, (200, 300))]
    assert scores.std() / np.sqrt(300) == pytest.approx(np.std(again), rel=0.15)


def test_texts_that_were_not_written_have_no_rate() -> None:
    targets, predictions = rows(3)
    predictions["text"][1] = None
    with pytest.raises(Undefined):
        metrics_of("none")["wer"].value(targets, predictions)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none", " It's  3. ", "It's 3."), ("basic", "It\u2019s 3,  O\u2019Neill!", "its 3 oneill"),
        ("basic", "na\u00efve \uff33\uff34", "na\u00efve st"), ("digits", "3-1, 42", "three one four two"),
        ("digits", "Three one", "three one"),
    ],
)  # fmt: skip
def test_normalizers(name: str, text: str, expected: str) -> None:
    change = NORMALIZERS[name]
    assert change(text) == expected and change(expected) == expected


def test_alignments_and_the_baseline() -> None:
    said, written = ["one two three", "four"], ["one too", ""]
    assert aligned_text(said, written, "basic") == ["one [two > too] [three > ]", "[four > ]"]
    errors, words = errors_of(said, written, "basic")
    assert errors.tolist() == [2, 1] and words.tolist() == [3, 1]
    assert baseline(said, "wer").tolist() == [1, 1] and baseline(said, "sentences").tolist() == [0, 0]
    with pytest.raises(KeyError):
        baseline(said, "accuracy")


def test_texts_in_the_letters_of_a_vocabulary() -> None:
    assert spelled("one two", {"O": 1, "N": 2, "|": 3}) == "ONE|TWO"
    assert spelled("One two", {"o": 1, "n": 2}) == "one two"
