"""What the page says: of runs in every state, before the numbers, of plans, and what it leaves out of large studies."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.formatting.escape import json_text, lines
from harness.report import write
from harness.report.analysis.caveats import notes
from harness.report.analysis.plan_outcome import planned
from harness.report.analysis.verdicts import evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.settings import Settings
from harness.report.page.hard_rows import hard_rows
from harness.report.page.page_data import details
from harness.report.reading.study import load
from tests.report.conftest import FACTS, Builder, asked

SCORED: dict[str, Any] = {"metrics": {"val": {"accuracy": 0.6}, "test": {}}}


def said(study: Builder) -> list[str]:
    """Give the notes of a study as they are read."""
    loaded = load(study.directory)
    table = rows(loaded)
    return [f"{note.kind}: {note.text}" for note in notes(loaded, table, evidence(loaded, table, Settings()))]


def told(study: Builder, budget: int = 10**7) -> Any:
    return details(rows(load(study.directory)), budget)


def test_what_became_of_runs_is_counted(study: Builder) -> None:
    """Failed, lost, pruned, running and unreadable runs, and those that diverged."""
    cell = "demo.minilm.lora"
    study.sweep([asked(cell)])
    study.run(cell, "t0", trial=0, **SCORED)
    study.run(cell, "t1", trial=1, status="failed", error="The loss is not finite at step 3.")
    study.run(cell, "t2", trial=2, status="failed", error="Out of memory")
    study.run(cell, "t3", trial=3, status="lost", error="killed")
    study.run(cell, "t4", trial=4, status="pruned", **SCORED)
    study.run(cell, "t5", trial=5, status="running")
    study.run(cell, "t6", trial=6).write_text("{", encoding="utf-8")
    found = said(study)
    assert (
        "Runs: Of 7 runs: 2 failed, 1 lost (its process was killed), 1 ended early for its poor score, 1 still "
        "running, 1 without a record that can be read." in found
    )
    assert "Diverged: Runs that came to numbers that are not finite: lora (1)." in found


@pytest.mark.usefixtures("no_figures")
def test_runs_that_a_budget_stopped_are_not_said_to_run(study: Builder, tmp_path: Path) -> None:
    """In the summary, in the notes, in the table and in the terminal."""
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    study.run("demo.minilm.lora", "t0", trial=0, **SCORED)
    for cell, error in (("lora", "Stopped by budget.seconds=60; a larger budget goes on."), ("full", None)):
        study.run(f"demo.minilm.{cell}", "t1", trial=1, status="running", error=error)
    assert "Runs: Of 3 runs: 1 stopped by the budget, to go on with a larger one, 1 still running." in said(study)
    report = write(study.directory, tmp_path / "out")
    assert "1 of 2 cells was stopped by the budget: lora." in report.summary
    assert "1 of 2 cells is still running: full." in report.summary
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "1 stopped" in table
    assert "1 running" in table


def test_few_seeds_and_unequal_budgets_are_told(study: Builder) -> None:
    """Trials that differ, tuning time of another order, one seed and two."""
    space = {"train.lr": "interval(1,2)"}
    cells = {"lora": (4, 1, 1.0), "full": (2, 2, 90.0)}
    study.sweep([asked(f"demo.minilm.{name}", space=space) for name in cells])
    for name, (trials, seeds, seconds) in cells.items():
        for trial in range(trials):
            study.run(f"demo.minilm.{name}", f"t{trial}", trial=trial, cost={"total_seconds": seconds}, **SCORED)
        for seed in range(seeds):
            metrics = {"val": {}, "test": {"accuracy": 0.7}}
            study.run(f"demo.minilm.{name}", f"c{seed}", phase="confirm", seed=seed, metrics=metrics)
    found = said(study)
    assert any(text.startswith("Seeds: One seed: what is said of lora holds for the trained models") for text in found)
    assert "Seeds: Fewer than 3 seeds, so the spread between seeds is hardly known: full." in found
    assert any("were tuned unequally: 2 trials of full, 4 of lora." in text for text in found)
    assert "Budget: On demo, cells had unequal time for tuning: 4.0 s for lora, 3.0 min for full." in found


def test_what_is_wrong_with_the_data_is_said_once_for_all_tasks(study: Builder) -> None:
    """Warnings of the data, and texts that were cut."""
    data = FACTS | {"truncated": {"train": 0, "test": 308}, "max_length": 64}
    study.sweep([asked("one.minilm.lora"), asked("two.minilm.lora")])
    for task in ("one", "two"):
        study.run(f"{task}.minilm.lora", "t0", trial=0, data=data, **SCORED)
    found = said(study)
    assert "Data: one and two: 2 test rows (0.1%) occur among the training rows as well." in found
    assert "Data: one and two: 10.0% of the test texts were cut at 64 tokens (task.max_length); " in " ".join(found)
    assert len(found) == 3


def test_configurations_are_told_as_changes(study: Builder) -> None:
    """The text of each run's config.yaml can be put together again, whatever its length and content."""
    texts = ["a: 1\nb: 2\nc: 3\n", "a: 1\nb: 5\nc: 3\n", "a: 1\nc: 3\nd:\n  - '<x>'\n", "a: {"]
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    for cell in ("demo.minilm.lora", "demo.minilm.full"):
        for trial, text in enumerate(reversed(texts) if cell.endswith("full") else texts):
            path = study.run(cell, f"t{trial}", trial=trial, **SCORED)
            path.with_name("config.yaml").write_text(text, encoding="utf-8")

    def changed(base: list[str], edits: list[tuple[int, int, list[str]]]) -> list[str]:
        result, place = [], 0
        for first, last, added in edits:
            result += base[place:first] + added
            place = last
        return result + base[place:]

    content = told(study).content
    for cell, expected in zip(content["cells"], (texts[::-1], texts), strict=True):
        base = changed(content["config"], cell["config"])
        assert [changed(base, run["config"]) for run in cell["runs"]] == [text.splitlines() for text in expected]


def test_what_does_not_fit_is_left_out_and_said(study: Builder) -> None:
    """First configurations of ordinary trials, then the worst trials; failures and confirmations stay."""
    cell = "demo.minilm.lora"
    study.sweep([asked(cell)])
    for trial in range(50):
        path = study.run(
            cell, f"t{trial:02d}", trial=trial, metrics={"val": {"accuracy": 0.5 + trial / 100}, "test": {}}
        )
        path.with_name("config.yaml").write_text(f"lr: {trial}\n" * 20, encoding="utf-8")
    study.run(cell, "t99", trial=99, status="failed", error="no")
    study.run(cell, "c1", phase="confirm", seed=1, metrics={"val": {}, "test": {"accuracy": 0.7}})
    whole = told(study)
    size = len(json_text(whole.content).encode())
    assert whole.left_out == []
    slim = told(study, size // 2)
    assert slim.left_out[0].startswith("The configurations of 50 tuning runs are left out")
    assert len(slim.content["cells"][0]["runs"]) == 52
    least = told(study, size // 5)
    kept = least.content["cells"][0]["runs"]
    assert least.left_out[1].startswith(f"{52 - len(kept)} runs are left out to keep this page small")
    assert least.content["cells"][0]["omitted"] == 52 - len(kept)
    assert {"confirm", "tune"} == {run["phase"] for run in kept}
    assert "failed" in {run["status"] for run in kept}
    trials = [run["trial"] for run in kept if run["phase"] == "tune" and run["status"] == "ok"]
    assert sorted(trials) == list(range(50 - len(trials), 50))
    for content in (whole, slim, least):
        budget = {id(whole): 10**7, id(slim): size // 2, id(least): size // 5}[id(content)]
        assert len(json_text(content.content).encode()) <= budget


def test_figures_that_do_not_fit_are_linked(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page holds as many as keep it small; the others are files beside it."""
    monkeypatch.setattr("harness.report.page.page.FIGURE_BYTES", 25_000)
    report = write(finished, tmp_path / "out")
    page = report.page.read_text(encoding="utf-8")
    linked = re.findall(r'href="(figures/[\w-]+\.svg)"', page)
    assert linked
    assert all((tmp_path / "out" / name).is_file() for name in linked)
    assert len(linked) + page.count("<figure ") == len(list((tmp_path / "out" / "figures").glob("*.svg")))


def test_json_in_a_script_element_ends_nothing() -> None:
    """No character is left that could end the element, and the content is the same."""
    content = {"a": "</script><!--&\u2028\u2029", "b": ["x" * 3, None, 1.5]}
    text = json_text(content)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == content


def test_long_texts_keep_their_lines_without_controls() -> None:
    """An error keeps its lines; what turns text around or reaches a terminal goes; the rest is cut."""
    assert lines("a\r\nb\x1b[31m\u202ec", 100) == "a\nb [31mc"
    assert lines("abcdef", 3) == "abc…"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        ("budget", "Stopped by budget.seconds=60 after 61 s. Missing: demo.minilm.lora 2 of 4 trials."),
        ("interrupted", "The study was interrupted; the same command goes on with it."),
        ("done", None),
    ],
)
def test_plan_stands_beside_outcome(study: Builder, tmp_path: Path, ended: str, sentence: str | None) -> None:
    """With how the study ended, at the top too."""
    study.sweep([asked("demo.minilm.lora")])
    study.run("demo.minilm.lora", "t0", trial=0, **SCORED)
    assert planned(study.directory) is None
    plan = {"runs": 4, "wall_seconds": 100.0, "low": 80.0, "high": 130.0, "dollars": None, "disk_bytes": 2e6}
    outcome = {"ended": ended, "note": sentence if ended == "budget" else "", "wall_seconds": 110.0, "dollars": 0.02}
    outcome |= {"runs": {"ok": 4, "failed": 1}, "disk_bytes": None}
    (study.directory / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (study.directory / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")
    found = planned(study.directory)
    assert found is not None
    assert [(line.name, line.estimate, line.outcome, line.ratio) for line in found.lines] == [
        ("wall time", "100 s (80 s to 2.2 min)", "110 s", "1.10"),
        ("dollars", "", "$0.02", ""),
        ("runs", "4", "5", "1.25"),
        ("disk", "2 MB", "", ""),
    ]
    page = write(study.directory, tmp_path / "out").page.read_text(encoding="utf-8")
    assert "Plan and outcome" in page
    if sentence is not None:
        assert sentence in page[: page.index('id="table"')]


@pytest.mark.usefixtures("no_figures")
def test_costs_of_serving_are_told_with_requests(study: Builder, tmp_path: Path) -> None:
    """The recommendation's total, and where another cell would be cheaper."""
    hardware = {"name": "x", "dollars_per_hour": 3.6, "cores": 1}
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")], hardware=hardware)
    # One was charged for what it found computed, beyond what it took.
    for name, seconds, latency, trained, judged in (("lora", 10.0, 0.02, 0.75, 0.125), ("full", 100.0, 0.01, 3.0, 1.0)):
        cost = {
            "train_seconds": trained * seconds, "evaluate_seconds": judged * seconds, "total_seconds": seconds,
            "core_seconds": seconds, "saved_bytes": 708_000, "latency_p50_seconds": latency,
            "latency_p95_seconds": 2 * latency, "throughput_per_second": 812.0,
        }  # fmt: skip
        study.run(f"demo.minilm.{name}", "t0", trial=0, cost=cost, **SCORED)
        for seed in (1, 2, 3):
            metrics = {"val": {}, "test": {"accuracy": 0.9 if name == "lora" else 0.8}}
            path = study.run(f"demo.minilm.{name}", f"c{seed}", phase="confirm", seed=seed, metrics=metrics, cost=cost)
            right = 180 if name == "lora" else 160
            study.predictions(path, ["a", "b"] * 100, ["a", "b"] * (right // 2) + ["b", "a"] * ((200 - right) // 2))
    report = write(study.directory, tmp_path / "out", Settings(requests_per_month=1000, months=10))
    page = report.page.read_text(encoding="utf-8")
    assert "With 1,000 requests a month for 10 months, lora costs $0.22 in all" in page
    for text in ("20 ms", "40 ms", "812", "708 kB", "$0.01", "12 %", "25 %"):
        assert text in page
    header = (tmp_path / "out" / "table.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[22:46] == [
        "study", "ci_low", "ci_high", "verdict", "gap", "gap_low", "gap_high", "detectable", "recommended", "pruned",
        "lost", "total_seconds", "saved_bytes", "latency_p50_seconds", "latency_p95_seconds", "throughput_per_second",
        "energy_joules", "accelerator_seconds", "core_seconds", "dollars", "tune_dollars", "ownership_dollars",
        "ownership_seconds", "evaluate_share",
    ]  # fmt: skip


@pytest.mark.usefixtures("no_figures")
def test_single_test_rows_are_shown_only_where_they_may_be(study: Builder, tmp_path: Path) -> None:
    """`examples=False` leaves their ids and labels out."""
    study.sweep([asked("demo.minilm.lora")])
    for seed in (1, 2, 3):
        metrics = {"val": {}, "test": {"accuracy": 0.5}}
        path = study.run("demo.minilm.lora", f"c{seed}", phase="confirm", seed=seed, metrics=metrics)
        study.predictions(path, ["a", "b", "a", "b"], ["a", "b", "b", "a"])
    shown, hidden = (
        write(study.directory, tmp_path / f"{examples}", Settings(examples=examples)).page.read_text(encoding="utf-8")
        for examples in (True, False)
    )
    assert 'aria-label="Hardest test rows"' in shown
    assert 'aria-label="Hardest test rows"' not in hidden
    assert "2 test rows are missed by every run of every cell" in hidden


def test_hardest_rows_come_in_the_order_of_what_they_tell(study: Builder) -> None:
    """Missed by all runs before some; of these by the other cells too; of these where all give the same class."""
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    labels = ["a"] * 6
    # Rows: right, missed once, missed by one cell, missed by all differently, missed by all alike, right.
    predicted = {"lora": ["abbbba", "aabcba"], "full": ["aaacba", "aaadba"]}
    for method, runs in predicted.items():
        for seed, given in enumerate(runs):
            metrics = {"val": {}, "test": {"accuracy": 0.5 + (method == "lora") / 10}}
            path = study.run(f"demo.minilm.{method}", f"c{seed}", phase="confirm", seed=seed, metrics=metrics)
            study.predictions(path, [*labels, "b", "c", "d"], [*given, "b", "c", "d"])
    loaded = load(study.directory)
    known = evidence(loaded, rows(loaded), Settings())
    (question,) = known.questions
    (found,) = hard_rows(replace(known, questions=(replace(question, recommended=question.best),)))
    assert [[cell.text for cell in row] for row in found.content.rows] == [
        ["4", "a", "b \u00d72", "2 of 2", "2 of 2"], ["3", "a", "b \u00d71, c \u00d71", "2 of 2", "2 of 2"],
        ["2", "a", "b \u00d72", "2 of 2", "0 of 2"], ["1", "a", "b", "1 of 2", "0 of 2"],
    ]  # fmt: skip
    assert "2 test rows are missed by every run of every cell" in found.content.sentence
