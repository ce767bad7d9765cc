"""Data of tagging: files, rows, spans, schemes, splits, and what is refused before any compute."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.errors import HarnessError
from harness.tasks.token_tagging.data import TaggingData, TagSplit
from harness.tasks.token_tagging.task import TokenTagging
from tests.helpers.text_tasks import make

Write = Callable[..., Path]


def load(path: Path, **fields: Any) -> TaggingData:
    return TokenTagging(name="mine", path=str(path), **fields).load()


def complaint(path: Path, **fields: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        load(path, **fields)
    return str(caught.value)


def conll(rows: Sequence[str]) -> str:
    """A file of sentences such as `Ann/B-p ran/O`."""
    return "\n\n".join("\n".join(word.replace("/", "\t") for word in row.split()) for row in rows) + "\n"


def sentences(count: int = 20) -> list[str]:
    return [f"Ann/B-per Lee/I-per saw/O item{row}/B-thing ./O" for row in range(count)]


def rows_of(data: TaggingData) -> dict[int, tuple[Any, ...]]:
    """Words and tags of all rows by number."""
    parts: list[TagSplit] = [data.train, data.validation, data.test]  # type: ignore[list-item]  # its splits are these
    return {
        int(number): (row.words, tags)
        for part in parts
        for number, row, tags in zip(part.ids, part.sentences, part.targets, strict=True)
    }


def test_every_format_gives_the_same_rows(tmp_path: Path, write: Write) -> None:
    """A word a line, lists in JSONL and Parquet, tags as one text, integers with names, spans; also compressed."""
    rows = sentences()
    expected = rows_of(load(write("a.conll", conll(rows))))
    assert expected[3] == (("Ann", "Lee", "saw", "item3", "."), ("B-per", "I-per", "O", "B-thing", "O"))
    pairs = [[word.split("/") for word in row.split()] for row in rows]
    tokens, tags = ([[each[place] for each in row] for row in pairs] for place in (0, 1))
    jsonl = "\n".join(json.dumps({"tokens": a, "tags": b}) for a, b in zip(tokens, tags, strict=True))
    assert rows_of(load(write("a.jsonl", jsonl))) == expected
    joined = "\n".join(json.dumps({"w": a, "t": " ".join(b)}) for a, b in zip(tokens, tags, strict=True))
    assert rows_of(load(write("b.jsonl", joined), text="w", label="t")) == expected
    names = ["O", "B-per", "I-per", "B-thing"]
    numbers = [[names.index(tag) for tag in row] for row in tags]
    parquet.write_table(pa.table({"tokens": tokens, "tags": numbers}), tmp_path / "a.parquet")
    named = {str(place): name for place, name in enumerate(names)}
    assert rows_of(load(tmp_path / "a.parquet", label_names=named)) == expected
    spans = [{"start": 0, "end": 7, "label": "per"}, {"start": 12, "end": 17, "label": "thing"}]
    texts = [{"text": " ".join(row), "spans": spans} for row in tokens]
    found = rows_of(load(write("c.json", json.dumps(texts)), text="text", label="spans"))
    assert {row: found[row] for row in range(10)} == {row: expected[row] for row in range(10)}
    packed = gzip.compress(conll(rows).encode("utf-16"))
    assert rows_of(load(write("a.conll.gz", packed), encoding="utf-16")) == expected


def test_schemes_are_seen_and_checked(write: Write) -> None:
    """By prefixes; a break of the scheme is told with its lines, and repaired only if asked."""
    assert load(write("a.conll", conll(sentences()))).scheme == "BIO"
    bioes = [f"Ann/B-per Lee/E-per saw/O item{row}/S-thing" for row in range(20)]
    assert load(write("b.conll", conll(bioes))).scheme == "BIOES"
    assert load(write("c.conll", conll([f"Ann/I-per saw/O it{row}/O" for row in range(20)]))).scheme == "IO"
    wrong = write("d.conll", conll([*sentences(), "so/O Bob/I-per", "Eve/I-per", "x/B-per y/I-thing", "z/I-per"]))
    told = complaint(wrong)
    assert "4 train tags of task mine do not follow BIO (line 122, 124, 127, ...)" in told
    assert "I-per follows O" in told and "task.repair=true" in told
    repaired = load(wrong, repair=True)
    assert repaired.facts["tags_repaired"] == 4 and rows_of(repaired)[20][1] == ("O", "B-per")
    assert rows_of(repaired)[22][1] == ("B-per", "B-thing")
    broken = write("e.conll", conll([*bioes, "x/B-per y/O", "x/E-per", "z/B-per"]))
    assert "3 train tags of task mine do not follow BIOES" in complaint(broken)
    assert "the end of the sentence follows B-per" in complaint(write("f.conll", conll([*bioes, "z/B-per"])))
    assert rows_of(load(broken, repair=True))[22][1] == ("S-per",)
    assert "are not IO" in complaint(write("g.conll", conll(bioes)), scheme="IO")
    assert "20 train tags of task mine are not BIO (line 1, 5, 9, ...): 'NN'" in complaint(
        write("h.conll", conll([f"a/NN b{row}/O c/B-x" for row in range(20)]))
    )


def test_spans_of_texts(write: Write) -> None:
    """Offsets in characters, other names of keys, triples; spans within words grow, and this is told."""
    rows = [
        {"text": "Émile's café, Köln", "spans": [[0, 5, "per"], {"start": 14, "end": 18, "type": "loc"}]},
        {"text": "北京很大 ok", "spans": [{"start": 0, "end": 2, "label": "loc"}]},
        {"text": "x-ray of the lungs", "spans": [{"start": 13, "end": 17, "label": ["organ"]}]},
        {"text": "none", "spans": []},
        {"text": "nothing", "spans": None},
        {"text": "  ", "spans": []},
    ]
    several = [row | {"text": f"{row['text']} {number or ''}".rstrip()} for number in (0, 1, 2, 3) for row in rows[:5]]
    content = "\n".join(map(json.dumps, [*several, *rows[5:] * 4]))
    data = load(write("a.jsonl", content), text="text", label="spans", validation="kfold")
    found = {row.text: (row, tags) for row, tags in zip(data.train.sentences, data.train.targets, strict=True)}  # type: ignore[attr-defined]  # its splits have sentences
    found |= {row.text: (row, tags) for row, tags in zip(data.test.sentences, data.test.targets, strict=True)}  # type: ignore[attr-defined]  # its splits have sentences
    row, tags = found["Émile's café, Köln"]
    assert row.words == ("Émile", "'", "s", "café", ",", "Köln") and tags == ("B-per", *["O"] * 4, "B-loc")
    assert found["北京很大 ok"][0].words == ("北", "京", "很", "大", "ok")
    assert found["北京很大 ok"][1] == ("B-loc", "I-loc", "O", "O", "O")
    assert found["x-ray of the lungs"][1][-1] == "B-organ"
    for row, _ in found.values():
        pieces = [row.text[start:end] for start, end in zip(row.starts, row.ends, strict=True)]
        assert pieces == list(row.words)
    assert any("4 spans of a.jsonl begin or end within a word" in told for told in data.warnings)
    assert data.facts["empty_dropped"] == 4


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "row 2 has 2 words and 1 tags"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "row 2 has words that are none: ' '"),
        ({"tokens": 3, "tags": []}, "row 2 has neither a text nor a list of words, but int"),
        ({"tokens": ["a"], "tags": {"a": 1}}, "row 2 has words and no list of tags"),
        ({"tokens": "some text", "tags": "O O"}, "row 2 has a text and no list of spans"),
        ({"tokens": "some text", "tags": [[0, 99, "x"]]}, "a span from 0 to 99 in a text of 9 characters"),
        ({"tokens": "some text", "tags": [[4, 5, "x"]]}, "a span without a word, 4 to 5"),
        ({"tokens": "some text", "tags": [{"start": 0, "end": 4}]}, "a span without start, end and label"),
        ({"tokens": "some text", "tags": [[0, 4, "x"], [2, 9, "y"]]}, "spans that share the word 'some'"),
    ],
)
def test_rows_that_cannot_be_used(row: dict[str, Any], told: str, write: Write) -> None:
    """With the number of the row, and what the columns must hold."""
    good = {"tokens": ["Ann"], "tags": ["B-p"]}
    found = complaint(write("a.jsonl", "\n".join(map(json.dumps, [good, row, good]))))
    assert told in found and "counted in characters from 0" in found


def test_splits_shots_and_folds(write: Write) -> None:
    """Every row is in one split, equal ones once; folds hold each training row once; tags stay the same."""
    path = write("a.conll", conll([*sentences(40), *sentences(5), "only/B-rare"]))
    data = load(path)
    assert data.facts["duplicates_dropped"] == 5 and len(rows_of(data)) == 41
    assert data.tags == ("O", "B-per", "I-per", "B-rare", "B-thing")
    few = load(path, shots=12, validation="kfold", folds=3)
    assert few.tags == data.tags and len(few.train) == 12
    held = np.concatenate([part.ids for _, part in few.folds])
    assert sorted(held) == sorted(few.train.ids)
    assert load(path).fingerprint == data.fingerprint != load(path, split_seed=1).fingerprint
    part = data.train.take(np.array([3, 1]), "part")
    assert part.texts == [data.train.texts[3], data.train.texts[1]] and part.targets[1] == data.train.targets[1]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"scheme": "BILOU"}, "Unknown task.scheme BILOU"),
        ({"piece": "middle"}, "Unknown task.piece middle. Known: first, last"),
        ({"repair": "maybe"}, "task.repair must be true or false"),
        ({"metric": "accuracy"}, "Unknown task.metric accuracy"),
        ({"max_length": 4}, "task.max_length must be a whole number, 8 or more"),
        ({"text": ["a", "b"]}, "task.text names one column, that of the words or texts"),
        ({"label": "tokens"}, "both name the column 'tokens'"),
        ({"format": "xml"}, "Unknown task.format xml"),
        ({"shots": 99}, "exceeds the 16 training sentences"),
        ({"encoding": "utf-16"}, "is not utf-16"),
        ({"label": "2"}, "has no column 2"),
        ({"test_fraction": 0.01}, "leaves 1 for test"),
    ],
)
def test_settings_that_are_refused(fields: dict[str, Any], told: str, write: Write) -> None:
    """Before anything is computed."""
    assert told in complaint(write("a.conll", conll(sentences())), **fields)


def test_files_without_entities_or_suffix(write: Write) -> None:
    """Nothing to learn; a format that the suffix does not say; no file at all."""
    assert "No training sentence of task mine has an entity" in complaint(
        write("a.conll", conll([f"a/O b{row}/O" for row in range(20)]))
    )
    plain = write("a.tsv", conll(sentences()))
    assert "If it has a word a line, set task.format=conll" in complaint(plain)
    assert load(plain, format="conll").facts["rows"]["train"] == 13
    assert "There is no file" in complaint(plain.parent / "b.conll")
    with pytest.raises(HarnessError, match="needs a file of tagged words"):
        TokenTagging(name="mine").load()


@pytest.mark.parametrize(("name", "types", "rows"), [("wnut17", 6, 3394), ("ncbi_disease", 1, 5432)])
def test_named_tasks(name: str, types: int, rows: int, data: Path) -> None:
    """The published splits, whole, without a break of the scheme."""
    found = make(name).load()
    assert isinstance(found, TaggingData) and data.is_dir()
    assert found.outputs == 2 * types + 1 and found.facts["rows"]["train"] == rows
    assert found.scheme == "BIO" and not found.facts["tags_repaired"]
