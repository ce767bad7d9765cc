"""The answer to which cell to choose today, with its probability, its expected loss and the price of certainty."""

from __future__ import annotations

import re

import pytest

from harness.report.cells.settings import Settings
from harness.report.tables.columns import FIELDS, cases
from tests.report.analysis.compared import judged, make
from tests.report.conftest import FACTS, Builder, asked


def test_an_answer_although_no_verdict_is_reached(study: Builder) -> None:
    """The first sentence names a cell, its chances and its loss, then what it would take to be sure."""
    make(study, {"full": (0.9, 40.0), "lora": (0.897, 25.0)}, seeds=3)
    found = judged(study, Settings(margin=0.002))
    (question,) = found.questions
    assert question.recommended is None and question.today is not None
    assert question.answer.startswith(f"On banking77, choose {question.today.row.cell.method} today: ")
    assert re.search(
        r"It is the best with a probability of \d+ %, and less than 0\.2 points below the best with (?:over )?\d+ %; "
        r"the expected loss is .* points\. To be sure of it ",
        question.answer,
    )
    assert found.summary[0].startswith(question.answer)
    assert "By the strict verdicts no cell can be recommended: none is shown" in found.summary[0]


def test_the_verdict_is_the_answer_where_it_is_reached(study: Builder) -> None:
    """What is shown to be as good is chosen, for the same cost as before, with its chances beside it."""
    make(study, {"full": (0.9, 40.0), "probe": (0.895, 0.1), "zero": (0.6, 0.0)})
    (question,) = judged(study, Settings(margin=0.02)).questions
    assert question.recommended is not None and question.recommended.cell.method == "probe"
    assert question.answer.startswith("On banking77, choose probe: 89.")
    assert "less than 2.0 points below the best with over 99 %" in question.answer
    assert "To be sure" not in question.answer


def test_columns_of_chances(study: Builder) -> None:
    """Probabilities of being the best sum to 1; a cell that is surely worse has none, and the largest loss."""
    make(study, {"full": (0.9, 40.0), "lora": (0.897, 25.0), "zero": (0.6, 0.0)}, seeds=3)
    found = judged(study)
    rows = cases(found.questions[0].rows, found)
    best = [FIELDS["p_best"].value(case) for case in rows]
    assert sum(best) == pytest.approx(1.0) and best[-1] == 0
    assert FIELDS["p_best"].text(rows[-1]) == "<1 %"
    assert FIELDS["regret"].value(rows[-1]) == pytest.approx(0.3, abs=0.03)


def test_the_price_of_seeds_is_that_of_the_records(study: Builder) -> None:
    """Hours from the confirmed runs' own times, or that no number of seeds will do."""
    make(study, {"full": (0.9, 3596.0), "lora": (0.897, 3596.0)}, seeds=3)
    answer = judged(study, Settings(margin=0.002)).questions[0].answer
    told = re.search(r"takes ([\d.]+) times the seeds of every cell \(([\d.]+) h more\)", answer)
    assert told is not None
    assert float(told[2]) == pytest.approx(2 * 3 * (float(told[1]) - 1), rel=0.1)  # of 2 cells, 3 seeds, an hour each
    never = judged(study, Settings(margin=1e-4)).questions[0].answer
    assert "no number of seeds will settle it with these 1,000 test rows" in never


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (None, "It holds for the configurations that one tuning run found and this draw of training rows."),
        (["seed", "tuning"], "It holds for this draw of training rows."),
        (["seed", "tuning", "draw"], None),
    ],
)
def test_what_was_not_varied_is_said(study: Builder, vary: list[str] | None, said: str | None) -> None:
    """Verdicts hold for what they saw: one tuning run, one draw, unless the study varied them."""
    confirm = {"seeds": 3} | ({} if vary is None else {"vary": vary})
    cells = [asked(f"banking77.minilm.{name}", space={"train.lr": "interval(1e-4,1e-2)"}) for name in ("a", "b")]
    make(study, {"a": (0.9, 40.0), "b": (0.8, 1.0)}, seeds=3)
    study.sweep(cells, confirm=confirm)
    assert FACTS["shots"]
    for trial in range(2):
        metrics = {"val": {"accuracy": 0.8}, "test": {}}
        study.run("banking77.minilm.a", f"t{trial}", trial=trial, metrics=metrics)
    text = judged(study).summary[0]
    assert ("It holds for" in text) is (said is not None)
    assert said is None or said in text
