"""Runs that are judged on the way, pause at a rung and go on: they end as if nobody had looked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.records.files import read_jsonl
from harness.records.record import PAUSED
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from harness.training.loop import fit
from tests.helpers.small_dataset import record, spec
from tests.helpers.small_dataset import short_config as config
from tests.training.test_loop import same, session, weights


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# Four steps of 8 rows an epoch (the last has 6); two epochs.
@pytest.mark.parametrize(
    ("resource", "rungs", "steps"),
    [("epochs", (1,), (4,)), ("steps", (1, 3, 6), (1, 3, 6)), ("examples", (8, 20, 40), (1, 3, 6))],
)
def test_a_run_that_pauses_at_every_rung_ends_as_one_that_nobody_judged(
    resource: str, rungs: tuple[int, ...], steps: tuple[int, ...], tmp_path: Path, cache: Path
) -> None:
    """Same scores after each epoch and at the end; rungs within an epoch have lines of their own."""
    composed = config(tmp_path, cache)
    plain = spec(composed, tmp_path / "plain", phase="tune")
    execute(RunBatch((plain,)))
    judged = replace(spec(composed, tmp_path / "judged", phase="tune"), resource=resource, rungs=rungs)
    for number, limit in enumerate((*rungs, None)):
        waits = replace(judged, until=limit)
        execute(RunBatch((waits,)))
        if limit is not None:
            found = waits.result()
            assert found is not None and found.status == "running" and found.ended is None
            assert found.cost[PAUSED] == limit and found.cost["steps"] == steps[number]
            assert (waits.paths.checkpoint / "all.safetensors").is_file()
    ended, alone = record(judged), record(plain)
    assert ended.status == "ok" and ended.metrics == alone.metrics
    assert PAUSED not in ended.cost and not judged.paths.checkpoint.exists()
    for cost in ("steps", "samples", "tokens", "best_epoch", "epochs"):
        assert ended.cost[cost] == alone.cost[cost]
    lines = read_jsonl(judged.paths.metrics)
    assert [line["step"] for line in lines if "rung" in line] == list(steps)
    assert [line["rung"] for line in lines if "rung" in line] == list(rungs)
    whole = [without(line, "seconds", "rung") for line in lines if isinstance(line["epoch"], int)]
    assert whole == [without(line, "seconds") for line in read_jsonl(plain.paths.metrics)]
    assert all(0 < line["epoch"] < 2 for line in lines if not isinstance(line["epoch"], int))


def without(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in keys}


# Methods with random numbers, a state or a head of their own, and averaged weights.
@pytest.mark.parametrize(("method", "changes"), [("lora", {"train__ema": 0.9}), ("pvera", {}), ("setfit", {})])
def test_looking_changes_no_weights(method: str, changes: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """Judged after every step, a member ends with the weights of one that is not, bit for bit."""
    judged = session(tmp_path, cache, method, **changes)
    judged.resource, judged.rungs = "steps", range(1, 100)
    alone = session(tmp_path, cache, method, **changes)
    fit([judged, alone])
    assert judged.status == alone.status == "done" and same(weights(judged), weights(alone))
    assert judged.progress.best_epoch == alone.progress.best_epoch


def test_a_run_started_again_at_its_limit_trains_no_further_and_costs_add_up(tmp_path: Path, cache: Path) -> None:
    """As after a job that was requeued; what earlier attempts took is part of what the run has cost."""
    waits = replace(spec(config(tmp_path, cache), tmp_path / "run", phase="tune"), rungs=(1,), until=1)
    execute(RunBatch((waits,)))
    first = record(waits)
    execute(RunBatch((waits,)))
    again = record(waits)
    assert again.cost["steps"] == first.cost["steps"] and again.metrics == first.metrics
    assert again.cost["total_seconds"] > first.cost["total_seconds"]
    assert again.cost["data_seconds"] > first.cost["data_seconds"]
    assert again.cost["train_seconds"] == pytest.approx(first.cost["train_seconds"])
    assert again.started == first.started
    assert len(read_jsonl(waits.paths.metrics)) == 1


def test_the_rest_of_a_batch_goes_on_when_a_run_pauses(tmp_path: Path, cache: Path) -> None:
    """What is not trained has no rungs and runs whole."""
    first, other, closed = (
        replace(spec(config(tmp_path, cache, method), tmp_path / name, phase="tune"), rungs=(1,), until=1)
        for name, method in (("a", "lora"), ("b", "bitfit"), ("c", "nearest_mean"))
    )
    execute(RunBatch((first, other, closed)))
    assert [record(each).status for each in (first, other, closed)] == ["running", "running", "ok"]
    assert all(each.result() is not None for each in (first, other, closed))


def test_runs_that_share_passes_pause_and_go_on_as_alone(tmp_path: Path, cache: Path) -> None:
    """Two of three go on together from their checkpoints; the third waits. Equal to solo runs up to rounding."""
    runs = [
        replace(
            spec(config(tmp_path, cache, train__lr=rate, seed=seed), tmp_path / f"run{seed}", phase="tune"), rungs=(1,)
        )
        for seed, rate in enumerate((1e-3, 2e-3, 3e-3))
    ]
    execute(RunBatch(tuple(replace(run, until=1) for run in runs), together=3))
    assert [record(run).cost[PAUSED] for run in runs] == [1, 1, 1]
    execute(RunBatch(tuple(runs[:2]), together=2))
    assert [record(run).status for run in runs] == ["ok", "ok", "running"]
    for run in runs[:2]:
        alone = replace(run, directory=f"{run.directory}-alone")
        execute(RunBatch((alone,)))
        assert record(run).cost["fused_runs"] == 3
        for name, value in record(alone).metrics["val"].items():
            assert record(run).metrics["val"][name] == pytest.approx(value, abs=1e-4)


def test_a_run_that_was_asked_to_stop_is_not_taken_for_one_that_waits(tmp_path: Path, cache: Path) -> None:
    """It has not come to its limit."""
    stopped: RunSpec = replace(
        spec(config(tmp_path, cache), tmp_path / "run", phase="tune"), resource="steps", rungs=(2,), until=2
    )
    execute(RunBatch((stopped,)), interrupted=iter([False, *[True] * 9]).__next__)
    assert record(stopped).status == "running" and stopped.result() is None
    execute(RunBatch((stopped,)))
    assert stopped.result() is not None
