"""What records add up to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.record import Record
from harness.records.run_records import RunRecords, close_unfinished
from harness.records.run_totals import RunTotals
from harness.records.signature import NUMERICS_VERSION
from harness.records.study_files import RunPaths


def record(status: str = "ok", phase: str = "tune", cell: str = "a", **cost: float | None) -> Record:
    made = Record("signature", status, "study", cell, phase, "task", "model", "method", 0)
    made.cost = dict(cost)
    return made


def test_lengths_are_of_runs_that_ended_less_what_each_paid_once() -> None:
    """A worker's first run loads what later ones find; a failed run says nothing of how long a good one takes."""
    tally = RunTotals()
    tally.add(record(total_seconds=60.0, data_seconds=30.0, model_seconds=25.0))
    tally.add(record(total_seconds=8.0, data_seconds=1.0, model_seconds=2.0))
    tally.add(record("failed", total_seconds=100.0))
    tally.add(record(phase="confirm", total_seconds=9.0))
    lengths = tally.lengths("a", "tune")
    assert (lengths.runs, lengths.mean, lengths.longest) == (2, 5.0, 5.0)
    assert tally.ended == 3
    assert tally.spent("a", "tune") == 168.0
    assert tally.least["model_seconds"] == 0.0  # the confirmation paid nothing
    assert tally.lengths("b", "tune").runs == 0


def test_trials_that_wait_are_a_part_of_a_trial() -> None:
    """Those that came to their end say how long a whole one is."""
    tally = RunTotals()
    tally.add(record("running", total_seconds=6.0, paused_at=3))
    tally.add(record("pruned", total_seconds=2.0, paused_at=1))
    tally.add(record("running", total_seconds=50.0))
    tally.add(record(total_seconds=30.0))
    assert (tally.pace("a").runs, tally.pace("a").mean) == (2, 2.0)
    assert (tally.whole("a").runs, tally.whole("a").mean) == (1, 30.0)
    assert tally.lengths("a", "tune").runs == 3


def test_a_run_is_paid_for_by_its_accelerator_or_by_its_cores() -> None:
    """Never by both."""
    tally = RunTotals()
    tally.add(record(accelerator_seconds=5.0, core_seconds=20.0))
    tally.add(record(accelerator_seconds=None, core_seconds=3.0))
    assert (tally.accelerator_seconds, tally.core_seconds) == (5.0, 3.0)


def test_a_record_that_is_read_again_counts_once(tmp_path: Path) -> None:
    """What a study adds up to is what adding up its present records gives."""
    paths = RunPaths(tmp_path / "a" / "trial0000")
    record("running", total_seconds=2.0).write(paths.record)
    records = RunRecords(tmp_path, pytest.fail)
    assert records.tally.statuses["running"] == 1
    record("ok", total_seconds=7.0, peak_memory_mb=900.0).write(paths.record)
    records.refresh(paths)
    assert +records.tally.statuses == {"ok": 1}
    assert (records.tally.seconds, records.tally.peak_memory_mb) == (7.0, 900.0)


def test_a_finished_record_is_kept_without_what_no_coordinator_reads(tmp_path: Path) -> None:
    """A study may have very many; one that still runs is kept whole, for it may be written again."""
    for status in ("ok", "running"):
        written = record(status, total_seconds=1.0)
        written.data, written.provenance = {"rows": 3}, {"torch": "2"}
        written.write(tmp_path / "a" / status / "record.json")
    kept = {each.status: each for each in RunRecords(tmp_path, pytest.fail).all()}
    assert kept["ok"].data == kept["ok"].provenance == {}
    assert kept["running"].provenance == {"torch": "2"}


def test_a_run_of_other_numerics_has_not_ended(tmp_path: Path) -> None:
    """Its signature is another one: a study that goes on with a new version looks at such runs again."""
    for name, status, numerics in (
        ("a", "ok", NUMERICS_VERSION),
        ("b", "ok", 1),
        ("c", "ok", None),
        ("d", "running", 2),
    ):
        written = record(status, total_seconds=1.0)
        written.provenance = {} if numerics is None else {"numerics_version": numerics}
        written.write(tmp_path / "cell" / name / "record.json")
    records = RunRecords(tmp_path, pytest.fail)
    assert [records.has_ended(tmp_path / "cell" / name) for name in "abcd"] == [True, False, False, False]


def test_a_run_that_nothing_needs_any_more_counts_as_pruned_only(tmp_path: Path) -> None:
    """Closing what was left open leaves the sums of its present record."""
    record("running", total_seconds=2.0).write(tmp_path / "a" / "trial0000" / "record.json")
    records = RunRecords(tmp_path, pytest.fail)
    close_unfinished(records, "a", "Not needed any more.")
    assert +records.tally.statuses == {"pruned": 1}
    assert records.tally.lengths("a", "tune").runs == 1
