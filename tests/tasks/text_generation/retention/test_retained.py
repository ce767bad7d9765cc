"""What is to be kept: texts, questions, the rows of other tasks, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.text_generation.data import Retained
from harness.tasks.text_generation.retention.retained import ROWS, read_retained

Write = Callable[..., Path]
QUESTIONS = [{"q": f"Where is {n}?", "a": n % 2, "options": ["here", "there"]} for n in range(6)]


def lines(rows: list[dict[str, Any]]) -> str:
    """The content of a JSONL file."""
    return "\n".join(map(json.dumps, rows))


def test_texts(write: Write) -> None:
    """Paragraphs, lines and a column of a table; at most `ROWS`, evenly spread."""
    paragraphs = str(write("general.txt", "One text,\nof two lines.\n \nAnother text.\n\nword\n"))
    assert read_retained(paragraphs) == Retained(("One text, of two lines.", "Another text."))
    assert read_retained(str(write("lines.txt", "One text.\r\nAnother text.\r\n"))).texts[1] == "Another text."
    table = str(write("rows.jsonl", lines([{"text": f"text {n}", "body": f"body {n}"} for n in range(2 * ROWS)])))
    found = read_retained(table)
    assert len(found.texts) == ROWS and found.texts[0] == "text 0" and found.texts[-1] == f"text {2 * ROWS - 1}"
    assert read_retained({"path": table, "text": "body", "rows": 2}).texts == ("body 0", f"body {2 * ROWS - 1}")
    assert found.costs == ("retained_loss", "forgetting")


def test_questions(write: Write) -> None:
    """Rows with choices, and the classes of a classification task."""
    path = str(write("questions.jsonl", lines(QUESTIONS)))
    found = read_retained({"path": path, "prompt": "q", "completion": "a", "choices": "options"})
    assert [row.completion for row in found.questions] == ["here", "there"] * 3
    assert found.costs == ("retained_accuracy", "forgotten_accuracy")
    demo = read_retained("demo")
    assert len(demo.questions) == ROWS and len(demo.questions[0].choices) == 30
    assert all(row.completion in row.choices for row in demo.questions)
    assert read_retained({"kind": "demo", "data_seed": 1, "rows": 5}).digest != demo.digest


def test_the_digest_is_of_the_content(write: Write) -> None:
    """Another name changes nothing, another text does."""
    one, two = (read_retained(str(write(name, "a text\n\nb text"))) for name in ("one.txt", "two.txt"))
    assert one.digest == two.digest != read_retained(str(write("one.txt", "a text\n\nc text"))).digest


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere.txt", "cannot be read"),
        ("nowhere.jsonl", "There is no file"),
        ("short.txt", "no text of two words"),
        ("rows.jsonl", "has no column 'text'"),
        ("demo_similarity", "neither classes nor choices"),
        ("demo_replies", "neither classes nor choices"),
        ({"path": "rows.jsonl", "prompt": "q"}, "task.retain.choices"),
        ({"path": "rows.jsonl", "prompt": "q", "completion": "a", "choices": "option"}, "Did you mean options?"),
        ({"path": "rows.jsonl", "column": "q"}, "task.retain takes no column"),
        ({"path": "short.txt", "rows": 0}, "task.retain.rows"),
        ({"text": "q"}, "names no file"),
        ({"kind": "demo", "rows": "many"}, "task.retain.rows"),
        ({"kind": "demos"}, "Did you mean demo?"),
        ({"kind": "demo_images"}, "no kind of task whose rows are questions"),
        ({"kind": "demo", "train_per_class": 0}, "task.train_per_class"),
        ({"kind": "demo_replies", "retain": "demo"}, "no task.retain of its own"),
    ],
)
def test_what_is_refused(given: Any, told: str, write: Write, place: Path) -> None:
    """With what `task.retain` takes."""
    write("rows.jsonl", lines(QUESTIONS))
    write("short.txt", "word\n\n")
    with pytest.raises(HarnessError) as caught:
        read_retained(given)
    assert told in str(caught.value) and "task.retain" in str(caught.value)
