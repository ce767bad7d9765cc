"""Metrics equal those of their libraries; scores of rows give the standard errors of bootstraps, sacrebleu's too."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest
from scipy import stats

from harness.api.metric import Undefined, row_scores
from harness.errors import HarnessError
from harness.tasks.text_generation.metrics import CORPUS, METRICS
from harness.tasks.text_generation.metrics.answers import FILTERS, exact_match, filter_of, words
from harness.tasks.text_generation.metrics.overlap import signature

RECORD = np.dtype([("text", "O"), ("nll", "f8"), ("tokens", "f8"), ("choices", "O")])
Rows = tuple[Any, Any]


def records(written: list[Any], seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    made = np.zeros(len(written), RECORD)
    made["text"] = written
    made["tokens"] = draw.integers(5, 40, len(written))
    made["nll"] = made["tokens"] * draw.gamma(4.0, 0.4, len(written))
    made["choices"] = None
    return made


def tuples(rows: list[tuple[str, ...]]) -> Any:
    made = np.empty(len(rows), dtype=object)
    made[:] = rows
    return made


@pytest.fixture(scope="module")
def e2e() -> tuple[Any, Any, Any]:
    """300 rows of E2E NLG with up to four references, and two systems: a fifth one, and the same with words lost."""
    if "HARNESS_DATA" not in os.environ:
        pytest.skip("HARNESS_DATA is not set: it names a directory with e2e_nlg/")
    folder = Path(os.environ["HARNESS_DATA"])
    references: dict[str, list[str]] = {}
    with (folder / "e2e_nlg" / "testset_w_refs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            references.setdefault(row["mr"], []).append(row["ref"])
    kept = [refs[-5:] for refs in references.values() if len(refs) > 1][:300]
    draw = random.Random(0)
    good = [refs[-1] for refs in kept]
    worse = [" ".join(word for word in text.split() if draw.random() > 0.06) for text in good]
    return tuples([tuple(refs[:-1]) for refs in kept]), records(good), records(worse, 1)


def streams(targets: Any) -> list[list[str | None]]:
    most = max(map(len, targets))
    return [[row[place] if place < len(row) else None for row in targets] for place in range(most)]


def test_values_are_those_of_the_libraries(e2e: tuple[Any, Any, Any]) -> None:
    targets, predictions, _ = (each[:100] for each in e2e)
    written, refs = list(predictions["text"]), streams(targets)
    wanted = {
        "bleu": sacrebleu.corpus_bleu(written, refs).score,
        "bleu_lc": sacrebleu.corpus_bleu(written, refs, lowercase=True).score,
        "chrf": sacrebleu.corpus_chrf(written, refs).score,
        "loss": predictions["nll"].sum() / predictions["tokens"].sum(),
        "perplexity": np.exp(predictions["nll"].sum() / predictions["tokens"].sum()),
    }
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = RougeScorer(kinds, use_stemmer=True)
    scores = [scorer.score_multi(row, text) for row, text in zip(targets, written, strict=True)]
    wanted |= {kind: np.mean([each[kind].fmeasure for each in scores]) for kind in kinds}
    for name, value in wanted.items():
        assert METRICS[name].value(targets, predictions) == pytest.approx(value, rel=1e-12), name
    scored = BLEU()
    scored.corpus_score(written, refs)
    assert signature("bleu", targets) == str(scored.get_signature())
    assert signature("rougeL", targets) is None


@pytest.mark.parametrize("name", ["bleu", "bleu_lc", "chrf", "rougeL", "token_f1", "loss", "perplexity"])
def test_scores_of_rows(name: str, e2e: tuple[Any, Any, Any]) -> None:
    """Their mean is the metric; their standard error is a bootstrap's; their differences', that of a paired one."""
    targets, *systems = e2e
    known, scores = CORPUS[name], [METRICS[name].per_row(targets, each) for each in systems]
    found = [known.statistics(targets, each) for each in systems]
    draw = np.random.default_rng(1)
    weights = draw.multinomial(300, np.full(300, 1 / 300), size=400).astype(float)
    resampled = [np.array([known.of_sums(each @ rows) for each in weights]) for rows in found]
    for system, each, rows in zip(systems, scores, resampled, strict=True):
        assert each.mean() == pytest.approx(METRICS[name].value(targets, system), rel=1e-12)
        assert each.std(ddof=1) / np.sqrt(300) == pytest.approx(rows.std(), rel=0.12)
    paired = (scores[0] - scores[1]).std(ddof=1) / np.sqrt(300)
    assert paired == pytest.approx((resampled[0] - resampled[1]).std(), rel=0.12)


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_agrees_with_the_paired_bootstrap_of_sacrebleu(name: str, metric: Any, e2e: tuple[Any, Any, Any]) -> None:
    """Half widths of 95 % intervals are sacrebleu's, and so is the probability of the difference, one-sided."""
    targets, good, _ = e2e
    part = slice(0, 150)
    if name == "ter":  # which takes sacrebleu long
        part, targets = slice(0, 40), tuples([row[:1] for row in targets])
    draw = random.Random(3)
    close = records([text if draw.random() < 0.93 else text.partition(",")[0] for text in good["text"]])
    systems = [("one", list(good["text"][part])), ("two", list(close["text"][part]))]
    _, results = PairedTest(systems, {name: metric}, streams(targets[part]), "bs", n_samples=1000)()  # type: ignore[arg-type]
    (theirs,) = [values for key, values in results.items() if key != "System"]
    scores = [METRICS[name].per_row(targets[part], each[part]) for each in (good, close)]
    for each, result in zip(scores, theirs, strict=True):
        assert each.mean() == pytest.approx(result.score, rel=1e-9)  # type: ignore[union-attr]
        assert 1.96 * each.std(ddof=1) / np.sqrt(len(each)) == pytest.approx(result.ci, rel=0.15)  # type: ignore[union-attr]
    difference = scores[0] - scores[1]
    z = abs(difference.mean()) / (difference.std(ddof=1) / np.sqrt(len(difference)))
    assert stats.norm.sf(z) == pytest.approx(theirs[1].p_value, abs=0.05)  # type: ignore[union-attr]


def test_answers() -> None:
    """Numbers of GSM8K are found as lm-evaluation-harness finds them; F1 is SQuAD's."""
    targets = tuples([("so 9*2=<<9*2=18>>18\n#### 1,800",)] * 4 + [("The red house.",)])
    predictions = records(["it is\n#### 1800", "The answer is $1,800.", "1800 or 3", "no idea", "a red car"])
    rows = {
        name: METRICS[name].per_row(targets, predictions).tolist()
        for name in METRICS
        if "match" in name or "f1" in name
    }
    assert rows["exact_match_number"] == [1, 0, 0, 0, 0]
    assert rows["exact_match_flexible"] == [1, 1, 0, 0, 0]
    assert rows["exact_match"] == [0] * 5 and rows["token_f1"][4] == 0.5
    assert exact_match(FILTERS["lower"]).value(tuples([("b", "A ")]), records(["a"])) == 1.0
    assert (
        exact_match(filter_of(r"regex:answer: (\w+)"), FILTERS["plain"]).value(
            tuples([("B",)]), records(["answer: B."])
        )
        == 1
    )
    assert words("我爱北京, yes!") == ["我", "爱", "北", "京", "yes"]
    for wrong, message in (("numbr", "There is no filter numbr.*number"), ("regex:(", "no regular expression")):
        with pytest.raises(HarnessError, match=message):
            filter_of(wrong)


def test_multiple_choice() -> None:
    """The likeliest choice counts, or the likeliest a character; rows without choices have no value."""
    targets, predictions = tuples([("yes",), ("no, never",)]), records([None, None])
    with pytest.raises(Undefined):
        METRICS["acc"].value(targets, predictions)
    for row, choices in enumerate([(("yes", -3.0), ("no, never", -4.0)), (("yes", -3.0), ("no, never", -4.0))]):
        predictions["choices"][row] = choices
    assert METRICS["acc"].per_row(targets, predictions).tolist() == [1, 0]
    assert METRICS["acc_norm"].per_row(targets, predictions).tolist() == [0, 1]
    assert set(row_scores(METRICS, targets, predictions)) == {"acc", "acc_norm", "loss", "perplexity"}


def test_chinese_and_nothing_written() -> None:
    """Chinese is compared by characters; outputs without any match have the metric 0, and scores of 0."""
    targets = tuples([("我们明天去北京。",), ("他喜欢红色的车。",)])
    same, none = records([row[0] for row in targets]), records(["", ""])
    assert METRICS["bleu_zh"].value(targets, same) == pytest.approx(100)
    assert METRICS["rougeL"].value(targets, same) == pytest.approx(1)
    for name in ("bleu", "bleu_zh", "chrf", "rougeL", "token_f1", "exact_match"):
        assert METRICS[name].value(targets, none) == 0 and not METRICS[name].per_row(targets, none).any(), name
    assert METRICS["ter"].value(targets, none) == 100
