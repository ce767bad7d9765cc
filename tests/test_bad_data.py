"""Data and data settings as people have them, by the command line: the right result, or code 2 and one sentence."""

from __future__ import annotations

import gzip
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.text_tasks import make, problems

Main = Callable[..., tuple[int, str]]

ROWS = "".join(f"message {i} about {topic},{topic}\n" for i in range(12) for topic in ("cards", "cash"))
NUMBERS = ROWS.replace(",cards", ",1").replace(",cash", ",0")
PLAN = ("plan=true", "calibrate=false", "method=nearest_mean", "task=csv")

RIGHT = [
    ("int.csv", f"text,label\n{NUMBERS}", ("task.positive=1",)),
    ("tf.csv", f"text,label\n{ROWS}".replace(",cards", ",True").replace(",cash", ",False"), ("task.positive=true",)),
    ("num.csv", f"0,1\n{ROWS}", ("task.text=0", "task.label=1")),
    ("digits.csv", f"text,label\n{ROWS}", ("task.name=2024", "task.encoding=1252")),
    ("names.csv", f"text,label\n{NUMBERS}", ("task.label_names={0:no,1:yes}", "task.quoting=no")),
    ("packed.csv.gz", gzip.compress(f"text,label\n{ROWS}".encode()), ()),
    ("excel.csv", f"sep=;\ntext;label\n{ROWS}".replace(",", ";"), ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "arguments"), RIGHT, ids=[case[0] for case in RIGHT])
def test_what_was_meant_is_read(
    main: Main, tmp_path: Path, name: str, content: str | bytes, arguments: tuple[str, ...]
) -> None:
    """From the command line to the plan of a study."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, printed = main("-m", *PLAN, f"task.path={name}", *arguments)
    assert code == 0, printed


WRONG = [
    (("task.encoding=null",), r"task\.encoding=null"),
    (("task.metric=null",), r"task\.metric=null"),
    (("task.metric=1",), r"Unknown task\.metric 1\. Known: accuracy"),
    (("task.label=null",), r"task\.label names one column"),
    (("task.text=null",), r"task\.text names one column"),
    (("task.name=null",), r"task\.name=null"),
    (("task.quoting=nope",), r"task\.quoting must be true or false, not 'nope'"),
    (("task.label_names={cards:true,cash:false}",), r"task\.label_names: the value of cards is true"),
    (("task.encoding=punycode",), r"task\.encoding=punycode is not an encoding of text files"),
    (("task.metric=auroc", "task.test_path=one.csv"), r"task\.metric=auroc needs test rows of both classes"),
    (("task.metric=auroc", "task.validation_path=one.csv"), r"task\.metric=auroc needs validation rows of both"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_what_cannot_be_meant_is_one_sentence(
    main: Main, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Before anything is computed or written."""
    (tmp_path / "mine.csv").write_text(f"text,label\n{ROWS}")
    (tmp_path / "one.csv").write_text("text,label\nnew message,cards\nanother,cards\n")
    mode = ("-m",) if "label" in arguments[0] or "path" in arguments[-1] else ()
    code, printed = main(*mode, "method=nearest_mean", "task=csv", "task.path=mine.csv", *arguments)
    assert code == 2, printed
    assert re.search(told, printed), printed
    assert "Traceback" not in printed
    assert {path.name for path in tmp_path.rglob("*")} <= {"mine.csv", "one.csv"}


ADVICE = [
    (f"text;label\n{ROWS}".replace(",", ";").encode(), r"set ('task\.separator=\";\"')\."),
    (f"text\tlabel\n{ROWS}".replace(",", "\t").encode(), r"set (task\.separator=tab)\."),
    (f"text,label\n{ROWS}".replace("about", "über").encode("cp1252"), r"set (task\.encoding=\w+) if"),
    (f"text,label\n{ROWS}".replace("about", "关于").encode("gb18030"), r"set (task\.encoding=gb18030) if"),
    (f"text,label\n{ROWS}".encode("utf-16-le"), r"set (task\.encoding=utf-16-le)\."),
    (f"text,label\n{ROWS}".replace("about", '"').encode(), r"set (task\.quoting=false)\."),
    (ROWS.replace("about", "that is about").encode(), r"with (task\.columns=\[text,label\])\."),
]


@pytest.mark.parametrize(("content", "advice"), ADVICE, ids=[advice for _, advice in ADVICE])
def test_the_advice_works_as_printed(place: Path, content: bytes, advice: str) -> None:
    """It is typed as it stands in the message: through a shell's rules, then Hydra's."""
    if b'message 0 "' in content:
        content = content.replace(b"message", b'"message')
    (place / "mine.csv").write_bytes(content)
    match = re.search(advice, problems(make("csv", "task.path=mine.csv")).replace("\n", " "))
    assert match is not None
    assert make("csv", "task.path=mine.csv", *shlex.split(match[1])).load().labels == ("cards", "cash")
