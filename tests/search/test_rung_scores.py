"""What runs were judged by, from files that grow while they are read."""

from __future__ import annotations

from pathlib import Path

from harness.records.files import append_jsonl
from harness.search.rung_scores import JsonlTail, scores


def test_scores_are_those_of_marked_lines_of_the_first_fold() -> None:
    """A line may stand for several rungs; a metric without a value is no number."""
    lines = [
        {"epoch": 0.5, "val": {"accuracy": 0.5}, "rung": 8},
        {"epoch": 1, "val": {"accuracy": 0.9}},
        {"epoch": 1, "val": {"accuracy": 0.1}, "rung": 32, "fold": 1},
        {"epoch": 2, "val": {"accuracy": None}, "rung": 32},
    ]
    found = scores(lines, (4, 8, 32, 64), "accuracy")
    assert found.keys() == {4, 8, 32} and found[4] == found[8] == 0.5 and found[32] != found[32]


def test_only_what_is_new_and_whole_is_read(tmp_path: Path) -> None:
    """Half a line waits for its end; a file that was replaced, as after a restart of its run, is read anew."""
    path = tmp_path / "run" / "metrics.jsonl"
    files = JsonlTail()
    assert files.lines(path) == []
    path.parent.mkdir()
    append_jsonl(path, {"step": 1})
    with path.open("a") as file:
        file.write('{"step"')
    assert files.lines(path) == [{"step": 1}]
    assert files.lines(path) == []
    with path.open("a") as file:
        file.write(": 2}\n")
    assert files.lines(path) == [{"step": 2}]
    shorter = path.with_name("other")
    append_jsonl(shorter, {"step": 1})
    shorter.replace(path)
    assert files.lines(path) == [{"step": 1}]
    files.keep(())
    assert files.lines(path) == [{"step": 1}]
