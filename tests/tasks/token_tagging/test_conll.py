"""CoNLL files as people have them: separators, columns, comments, documents, and what is refused with its lines."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.tasks.token_tagging.conll import Block, read_conll


def words(blocks: list[Block]) -> list[list[tuple[str, str]]]:
    return [list(zip(block.words, block.tags, strict=True)) for block in blocks]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("Ann\tB-p\nran\tO\n\nBye\tO\n", {}),
        ("Ann B-p\nran O\n\nBye O", {}),
        ("Ann  NN B-p\r\nran VB O\r\n \r\n\r\nBye UH O\r\n", {}),
        ("-DOCSTART- -X- O\n\nAnn NN B-p\nran VB O\n-DOCSTART- -X- O\nBye UH O\n", {}),
        ("Ann|B-p\nran|O\n\nBye|O\n", {"separator": "|"}),
        ("B-p\tAnn\nO\tran\n\t\nO\tBye\n", {"word": "1", "tag": "0"}),
        ("B-p\tx\tAnn\nO\ty\tran\n\nO\tz\tBye\n", {"word": "-1", "tag": "ner", "columns": ["ner", "pos", "form"]}),
        ("Ann x B-p\nran y O\n\nBye z O\n", {"columns": ["form", "pos", "ner"]}),
        ("# id = 1\n1\tAnn\tB-p\n2\tran\tO\n\n# text = Bye\n1-2\tBye\tO\n1\tBye\tO\n", {"word": "1"}),
    ],
)
def test_separators_columns_and_boundaries(content: str, options: dict[str, str]) -> None:
    """The same two sentences, written in nine ways."""
    assert words(read_conll(content, "a.conll", **options)) == [[("Ann", "B-p"), ("ran", "O")], [("Bye", "O")]]  # type: ignore[arg-type]  # options of several types


def test_a_hashtag_is_a_word_and_lines_are_counted() -> None:
    """A line that begins with # is a comment only if it has other fields than the words; U+2028 ends no line."""
    (block,) = read_conll("# a note\n#fun\tO\n#\tO\na\u2028b\tO\n", "a.conll")
    assert block.words == ["#fun", "#", "a\u2028b"]
    assert block.lines == [2, 3, 4]
    (block,) = read_conll("12\u00a0000  O\na\u2028b O\nc\u0085d\u3000e O\n", "a.conll")
    assert block.words == ["12\u00a0000", "a\u2028b", "c\u0085d\u3000e"]  # fields are parted by spaces alone


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        ("\n\n", {}, "a.conll has no words"),
        ("Ann\nran\n", {}, "has one column, and a word and a tag are needed"),
        ("a\tO\nb\tO\nc\nd\tO\ne\tO\tO\n", {}, r"another number in 2 \(line 3, 5\)"),
        ("a\tO\n \tO\nb\tO\n", {}, r"no word in 1 lines that have other fields \(line 2\)"),
        ("a\tO\n", {"tag": "5"}, "no column 5: its columns are 0 to 1"),
        ("a\tO\n", {"tag": "ner"}, "no column 'ner'. Known: 0, 1. Choose with task.text"),
        ("a\tO\n", {"columns": ["a", "b", "c"]}, "names 3 columns, and most lines of a.conll have 2 fields"),
        ("a\tO\n", {"columns": ["word", "net"], "word": "word", "tag": "ner"}, "Did you mean net"),
        ("a\tO\n", {"tag": "0"}, "words and tags in one column"),
    ],
)
def test_what_is_refused(content: str, options: dict[str, str], told: str) -> None:
    """With the lines, and what to do."""
    with pytest.raises(HarnessError, match=told):
        read_conll(content, "a.conll", **options)  # type: ignore[arg-type]  # options of several types
