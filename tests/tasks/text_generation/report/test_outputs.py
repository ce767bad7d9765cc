"""Shares of outputs, refusals, and the cells that none beats."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.report.reading.predictions import Unreadable
from harness.tasks.text_generation.report.forgetting import front
from harness.tasks.text_generation.report.outputs import REFUSAL, outputs


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I\u2019m sorry, I cannot do that", True),
        ("Sorry, I can't.", True),
        ("I am not able to answer", True),
        ("As an AI language model, I have no order.", True),
        ("作为一个人工智能,我没有", True),
        ("I'm sorry that your kettle broke. We replace it.", False),
        ("I can help you with order A1234.", False),
        ("We cannot refund it.", False),
        ("抱歉,没有符合您要求的酒店", False),
        ("", False),
    ],
)
def test_refusals(text: str, refused: bool) -> None:
    """A model that refuses to answer, not a shop that refuses a refund."""
    assert (REFUSAL.match(text) is not None) == refused


def predictions(texts: list[str | None], tokens: list[float], cut: list[float]) -> Any:
    """The stored columns of one run."""
    columns = {
        "prediction": np.array([texts], dtype=object),
        "written_tokens": np.array([tokens]),
        "cut": np.array([cut]),
    }
    return SimpleNamespace(column=columns.__getitem__)


def test_shares() -> None:
    """Of all outputs; nothing where none were written, or where an archive has left them out."""
    found = outputs(predictions(["a b", " ", "I cannot say", "x"], [2, 1, 3, 60], [0, 0, 0, 1]))
    assert found is not None and (found.empty, found.refused, found.cut) == (0.25, 0.25, 0.25)
    assert found.tokens.tolist() == [2, 1, 3, 60]
    assert outputs(predictions([None, None], [0, 0], [0, 0])) is None
    assert outputs(predictions(["here", "there"], [0, 0], [0, 0])) is None  # choices

    def gone(name: str) -> Any:
        raise Unreadable(name)

    frozen: Any = SimpleNamespace(column=gone)
    assert outputs(frozen) is None


def test_front() -> None:
    """Less forgotten, or a better score."""
    row: Any = SimpleNamespace(better=lambda score: score)
    points = [(0.0, 10.0, row), (0.1, 30.0, row), (0.2, 20.0, row), (0.2, 30.0, row), (0.5, 31.0, row)]
    assert [(x, y) for x, y, _ in front(points)] == [(0.0, 10.0), (0.1, 30.0), (0.5, 31.0)]
