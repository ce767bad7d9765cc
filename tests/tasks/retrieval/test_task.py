"""Data of retrieval: rows of a query are one query, splits of queries, collections; and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from harness.config.error_messages import unknown_key
from harness.errors import HarnessError
from harness.tasks.retrieval.data import QuerySplit, RetrievalData
from harness.tasks.retrieval.demo import DemoRetrieval
from harness.tasks.retrieval.task import Retrieval

# Of the default demo. A change of this value is a change of the task: every result on it is another one then.
FINGERPRINT = "4681b0b17df1887b1c1694947c3bd070ef9c2dfc64a75eb186e4802c962bd1e6"


def load(path: Path, **fields: Any) -> RetrievalData:
    return Retrieval(name="mine", path=str(path), **fields).load()


def complaint(path: Path, **fields: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        load(path, **fields)
    return str(caught.value)


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def many(count: int = 40, passages: int = 12) -> list[dict[str, Any]]:
    return [{"query": f"question {row}", "passage": f"answer {row % passages}"} for row in range(count)]


def splits_of(data: RetrievalData) -> list[QuerySplit]:
    found = [part for part in (data.train, data.validation, data.test) if part is not None]
    assert all(isinstance(part, QuerySplit) for part in found)
    return found  # type: ignore[return-value]


def test_rows_of_a_query_are_one_query(tmp_path: Path) -> None:
    """Letter case and spaces aside; its passages and their gains are joined, and each query is in one split."""
    rows = [each | {"gain": 1} for each in many()]
    rows += [{"query": f"Question  {row}", "passage": "answer 11", "gain": 3} for row in range(0, 40, 3) if row != 11]
    rows = [each for each in rows if not (each["query"] == "question 11" or each["query"].endswith(" 23"))]
    data = load(jsonl(tmp_path / "rows.jsonl", rows), gain="gain")
    queries = [query.lower() for part in splits_of(data) for query in part.texts]
    assert len({" ".join(query.split()) for query in queries}) == len(queries) == 38
    by_query = {query: row for part in splits_of(data) for query, row in zip(part.texts, part.targets, strict=True)}
    text = dict(enumerate(data.passages))
    assert [(text[place], gain) for place, gain in by_query["question 3"]] == [("answer 11", 3.0), ("answer 3", 1.0)]
    assert [(text[place], gain) for place, gain in by_query["question 4"]] == [("answer 4", 1.0)]
    assert data.facts["rows"]["test"] == len(data.test) == 8 and data.facts["rows_joined"] == 14
    assert data.most_relevant == 2


def test_negatives_lists_and_gains_of_zero(tmp_path: Path) -> None:
    """Negatives come from columns, lists of texts, and passages of gain 0; all of them are part of the collection."""
    rows = [
        {
            "query": f"q {row}",
            "passage": [f"p {row % 12}", f"p {(row + 1) % 12}"],
            "wrong": [f"n {row % 5}"],
            "far": None,
        }
        for row in range(30)
    ]
    rows[7]["far"] = "very far"
    data = load(jsonl(tmp_path / "rows.jsonl", rows), negatives=["wrong", "far"])
    assert len(data.passages) == 12 + 5 + 1 and data.facts["relevant_mean"] == 2
    negatives = {text: row for part in splits_of(data) for text, row in zip(part.texts, part.negatives, strict=True)}
    assert [data.passages[place] for place in negatives["q 7"]] == ["n 2", "very far"]
    judged = [each | {"gain": int(row % 3 > 0)} for row, each in enumerate(many(60))]
    judged += [{"query": each["query"], "passage": "answer x", "gain": 2} for each in judged[::3]]
    data = load(jsonl(tmp_path / "judged.jsonl", judged), gain="gain")
    every = {
        text: (row, no)
        for part in splits_of(data)
        for text, row, no in zip(part.texts, part.targets, part.negatives, strict=True)
    }
    (relevant, irrelevant) = every["question 3"]
    assert data.passages[relevant[0][0]] == "answer x" and [data.passages[place] for place in irrelevant] == [
        "answer 3"
    ]


def test_a_file_of_passages(tmp_path: Path) -> None:
    """Queries name ids, numbers too; a repeated text is one passage, and passages of no query are ranked as well."""
    passages = tmp_path / "passages.csv"
    passages.write_text("id,text\n" + "".join(f"{n},text of {n}\n" for n in range(14)) + "20,text  of 3\n")
    rows = [{"query": f"question {row}", "passage": row % 12} for row in range(40)] + [{"query": "twin", "passage": 20}]
    data = load(jsonl(tmp_path / "rows.jsonl", rows), passages=str(passages))
    assert len(data.passages) == len(data.names) == 14 and data.names[3] == "3" and data.passages[13] == "text of 13"
    found = {text: row for part in splits_of(data) for text, row in zip(part.texts, part.targets, strict=True)}
    assert found["twin"] == ((3, 1.0),)
    assert "1 passages repeat the text of another" in " ".join(data.warnings)


def test_shots_pool_and_folds(tmp_path: Path) -> None:
    """Shots are of each passage; validation queries come from those beyond; folds hold each training query once."""
    path = jsonl(tmp_path / "rows.jsonl", many(240))
    data = load(path, shots=4, pool_per_passage=3)
    assert len(data.train) == 48 and data.counts.tolist() == [4] * 12
    assert data.validation is not None and len(data.validation) == 36
    folded = load(path, shots=4, validation="kfold", folds=4)
    assert folded.validation is None
    assert sorted(np.concatenate([part.ids for _, part in folded.folds])) == sorted(folded.train.ids)
    assert data.train.ids.tolist() == folded.train.ids.tolist()
    other = load(path, shots=4, draw=1)
    assert other.fingerprint != data.fingerprint
    few = load(jsonl(tmp_path / "few.jsonl", many(50)), shots=4, validation="split")
    assert "fewer than task.shots=4" in " ".join(few.warnings)


def test_shots_of_names(data: Path) -> None:
    """BANKING77 as search has the intents in words, and nearly the training questions of classification."""
    from harness.tasks.text_classification.task import TextClassification

    common: dict[str, Any] = {"folder": "banking77", "files": {"train": "train.csv", "test": "test.csv"}, "shots": 2}
    search = Retrieval(name="search", text="text", label="category", passages_in_words=True, **common).load()
    classes = TextClassification(name="classes", text="text", label="category", **common).load()
    assert len(search.passages) == 77 and "card arrival" in search.passages and search.counts.tolist() == [2] * 77
    # Four texts of the file are repeated: search joins their rows before it draws.
    assert len({*search.train.texts} & {*classes.train.texts}) >= 148


def test_groups_stay_together(tmp_path: Path) -> None:
    """A customer's questions are in one split; a query in two groups is refused."""
    rows = [each | {"customer": f"c{row // 4}"} for row, each in enumerate(many(80))]
    data = load(jsonl(tmp_path / "rows.jsonl", rows), group="customer")
    of_splits = [set(part.groups.tolist()) for part in splits_of(data) if part.groups is not None]
    assert len(of_splits) == 3 and not set.intersection(*of_splits)
    rows.append(rows[0] | {"customer": "another"})
    assert "Rows of a query stay together" in complaint(jsonl(tmp_path / "rows.jsonl", rows), group="customer")


@pytest.mark.parametrize(
    ("change", "fields", "told"),
    [
        ({3: {"passage": None}}, {}, "1 of 40 queries have no passage in column 'passage': rows 4"),
        ({3: {"passage": "  "}}, {}, "column 'passage' has empty passages in rows 4"),
        ({3: {"query": ""}}, {}, "1 of 40 rows have no text in column 'query'"),
        ({3: {"passage": ["answer 1", ""]}}, {}, "has empty passages in rows 4"),
        ({3: {"passage": {"a": 1}}}, {}, "holds something else in rows 4"),
        ({3: {"no": "answer 3"}}, {"negatives": "no"}, "both relevant and a negative: 'question 3' ('answer 3')"),
        ({3: {"gain": -1}}, {"gain": "gain"}, "are not: '-1' (rows 4)"),
        ({3: {"gain": float("nan")}}, {"gain": "gain"}, "are not: 'nan' (rows 4)"),
        ({3: {"gain": "much"}}, {"gain": "gain"}, "are not: 'much' (rows 4)"),
        ({3: {"gain": 0}}, {"gain": "gain"}, "have no passage with a gain above 0: 'question 3'"),
        ({}, {"negatives": "query"}, "name the column query twice"),
        ({}, {"gain": "absent"}, "has no column 'absent'"),
        ({}, {"label_names": {"a": "b"}}, "leave it out"),
        ({}, {"metric": "mrr"}, "Unknown task.metric mrr. Known: loss, mrr_at_10, ndcg_at_10"),
        ({}, {"hard_negatives": -1}, "task.hard_negatives must be a whole number, 0 or more"),
        ({}, {"passages_in_words": "maybe"}, "must be true or false"),
        ({}, {"validation": "pool"}, "set task.shots"),
        ({}, {"passages": "nowhere.csv"}, "There is no file nowhere.csv"),
    ],
)  # fmt: skip
def test_what_is_refused(change: dict[int, Any], fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    """In one sentence, with the rows."""
    rows = [each | {"gain": 1.0, "no": None} for each in many()]
    for place, values in change.items():
        rows[place] |= values
    assert told in complaint(jsonl(tmp_path / "rows.jsonl", rows), **fields)


def test_collections_that_are_refused(tmp_path: Path) -> None:
    """Unknown ids, ids that occur twice, empty texts, and fewer passages than a metric counts."""
    passages = tmp_path / "passages.csv"
    rows = jsonl(tmp_path / "rows.jsonl", [{"query": f"q {row}", "passage": f"p{row % 12}"} for row in range(40)])
    listed = [f"p{n},text {n}" for n in range(12)]
    passages.write_text("\n".join(["id,text", *listed[:11]]))
    assert "1 ids of train passages are not in task.passages: 'p11'" in complaint(rows, passages=str(passages))
    passages.write_text("\n".join(["id,text", *listed, "p3,another"]))
    assert "several passages with the id 'p3'" in complaint(rows, passages=str(passages))
    passages.write_text("\n".join(["id,text", *listed[:-1], "p11,"]))
    assert "have no text in column 'text'" in complaint(rows, passages=str(passages))
    passages.write_text("\n".join(["id,body", *listed]))
    assert "task.passage_id and task.passage_text" in complaint(rows, passages=str(passages))
    few = jsonl(tmp_path / "few.jsonl", many(40, passages=9))
    assert "needs a collection of 10 passages or more, and task mine has 9" in complaint(few)
    assert "needs a collection of 11" in complaint(jsonl(tmp_path / "ten.jsonl", many(40, 10)), metric="recall_at_10")
    assert len(load(few, metric="recall_at_1").passages) == 9
    one = jsonl(tmp_path / "one.jsonl", many(40, passages=1))
    assert "needs a collection of 2" in complaint(one, metric="recall_at_1")


def test_keys_that_name_a_column_are_named(tmp_path: Path) -> None:
    """Each its own; a passage with half a character, which no file can hold, is told with its row."""
    rows = jsonl(tmp_path / "rows.jsonl", many())
    assert "no column 'gian'. Known: passage, query. Choose with task.gain." in complaint(rows, gain="gian")
    assert "Choose with task.negatives." in complaint(rows, negatives=["no"])
    assert "Choose with task.group." in complaint(rows, group="customer")
    frame = pd.DataFrame(many())
    frame.to_parquet(tmp_path / "rows.parquet")
    assert "Choose with task.gain." in complaint(tmp_path / "rows.parquet", gain="gian")
    assert load(rows, text=["query"], label=["passage"]).facts["rows"]["test"] == 8
    broken = jsonl(tmp_path / "broken.jsonl", [*many(), {"query": "q", "passage": ["fine", "half \ud800"]}])
    assert "half a character (a lone surrogate) in column 'passage': row 41" in complaint(broken)
    known = tmp_path / "known.csv"
    known.write_text("id,text\n" + "".join(f"{'a long name ' * 9}{n},text {n}\n" for n in range(12)))
    assert len(complaint(rows, passages=str(known))) < 500  # three short examples, whatever the ids are


FILES = {
    "separator": ("id;text\n", "{};text {}\n", "utf-8", "begin the file with a line sep=;", "sep=;\n"),
    "encoding": ("id,text\n", "{},téxt {}\n", "cp1252", "save it as UTF-8", ""),
    "header": ("", "{},a text of words {}\n", "utf-8", "write the names of the columns into a first line", "id,text\n"),
}


@pytest.mark.parametrize(("head", "row", "encoding", "advice", "first"), FILES.values(), ids=list(FILES))
def test_advice_on_the_file_of_passages_works(
    tmp_path: Path, head: str, row: str, encoding: str, advice: str, first: str
) -> None:
    """No key says how it is read, so what is advised is a change of the file."""
    rows = jsonl(tmp_path / "rows.jsonl", [{"query": f"q {row}", "passage": f"p{row % 12}"} for row in range(40)])
    content = head + "".join(row.format(f"p{n}", n) for n in range(12))
    passages = tmp_path / "passages.csv"
    passages.write_bytes(content.encode(encoding))
    said = complaint(rows, passages=str(passages))
    assert advice in said and not re.search(r"task\.(encoding|separator|columns)", said), said
    passages.write_text(first + content, encoding="utf-8")
    assert len(load(rows, passages=str(passages)).passages) == 12


def test_the_demo_is_always_the_same() -> None:
    """30 articles that questions ask for, and 10 that none does."""
    data = DemoRetrieval(name="demo_retrieval", max_length=64).load()
    assert data.fingerprint == FINGERPRINT
    assert len(data.passages) == 40 and data.facts["rows"] == {"train": 600, "validation": 240, "test": 600}
    assert data.facts["unseen"] == 0 and not any("equal" in each for each in data.warnings)
    sample = data.sample(50, 20)
    assert len(sample.train) == 50 and isinstance(sample.train, QuerySplit)


@pytest.mark.parametrize("kind", ["retrieval", "text_regression"])
def test_a_key_that_would_be_refused_is_not_advised(kind: str) -> None:
    """Classes have names; passages and numbers have none."""
    config = OmegaConf.create({"task": {"kind": kind, "name": "x"}})
    assert "Write +" not in unknown_key("task.label_names", config)
    assert "Write +task.quoting=<value>" in unknown_key("task.quoting", config)
