"""Arrays on disk: made by several processes together, whole or not there, made anew when damaged."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.synchronize
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cache.shared_array import ArrayJob, Rows, Values, _ArrayBuilder, in_memory, on_disk, read
from harness.errors import HarnessError

LENGTHS = np.random.default_rng(0).integers(1, 6, size=40)
OFFSETS = np.cumsum([0, *LENGTHS])
WIDTH = 3
EXPECTED = np.random.default_rng(1).normal(size=(int(OFFSETS[-1]), WIDTH)).astype(np.float32)
PARTS = [np.argsort(-LENGTHS, kind="stable")[start : start + 4] for start in range(0, 40, 4)]


def blocks(rows: Rows) -> Values:
    return np.concatenate([EXPECTED[OFFSETS[row] : OFFSETS[row + 1]] for row in rows])


def work(compute: Callable[[Rows], Values] = blocks) -> ArrayJob:
    return ArrayJob(OFFSETS, WIDTH, PARTS, compute)


def test_blocks_lie_where_their_rows_are(tmp_path: Path) -> None:
    """Rows of any length, computed in any order, on disk and in memory."""
    assert np.array_equal(on_disk(tmp_path / "a.npy", work()).values, EXPECTED)
    assert np.array_equal(in_memory(work()).values, EXPECTED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.npy"]


@pytest.mark.parametrize("damage", ["cut", "bits", "note", "gone", "left behind"])
def test_damaged_array_is_made_anew(damage: str, tmp_path: Path) -> None:
    """A cut file, a flipped byte, a note that is cut or gone, half-made files: each costs the computation alone."""
    path = tmp_path / "a.npy"
    on_disk(path, work())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "bits":
        path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    elif damage == "note":
        path.with_suffix(".json").write_text("{")
    else:
        path.with_suffix(".json").unlink()
    if damage == "left behind":
        path.rename(path.with_suffix(".building4.npy"))
        path.with_suffix(".building4").write_bytes(np.ones(len(PARTS)).tobytes())  # says that all is done
    assert read(path, work().shape) is None
    assert np.array_equal(on_disk(path, work()).values, EXPECTED)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """A backbone that gives NaN is an error, and nothing counts as made."""
    with pytest.raises(HarnessError, match="not finite"):
        on_disk(tmp_path / "a.npy", work(lambda rows: np.full_like(blocks(rows), np.nan)))
    assert not (tmp_path / "a.npy").exists()
    assert np.array_equal(on_disk(tmp_path / "a.npy", work()).values, EXPECTED)


def _make(directory: Path, number: int, dies: bool, together: Any) -> None:
    """A process that takes part, notes what it computes, and maybe dies in its second part.

    It ends its first part when all have one: whoever comes when nobody is there begins anew.
    """
    computed: list[int] = []

    def compute(rows: Rows) -> Values:
        if dies and computed:
            os.kill(os.getpid(), signal.SIGKILL)
        if not computed:
            together.wait(60)
        time.sleep(0.02)
        computed.append(int(rows[0]))
        (directory / f"{number}.txt").write_text(" ".join(map(str, computed)))
        return blocks(rows)

    assert np.array_equal(on_disk(directory / "a.npy", work(compute)).values, EXPECTED)


@pytest.mark.parametrize("dies", [False, True])
def test_processes_share_the_work(dies: bool, tmp_path: Path) -> None:
    """Each part is computed by one of the processes; what one leaves behind that is killed, the others compute."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)
    processes = [
        context.Process(target=_make, args=(tmp_path, number, dies and number == 0, together)) for number in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL if dies else 0, 0, 0]
    computed = [list(map(int, path.read_text().split())) for path in sorted(tmp_path.glob("*.txt"))]
    assert sorted(itertools.chain(*computed)) == sorted(int(rows[0]) for rows in PARTS)
    assert all(len(each) < len(PARTS) for each in computed)
    assert np.array_equal(on_disk(tmp_path / "a.npy", work()).values, EXPECTED)


def _die_at_the_start(path: Path, alone: multiprocessing.synchronize.Event) -> None:
    """A process that finds itself alone and is killed before it lays out anything, while another one waits for it."""

    def die(_: object) -> None:
        alone.set()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ArrayBuilder, "_lay_out", die)
        on_disk(path, work())


@pytest.mark.parametrize("left_behind", [False, True])
def test_death_before_there_is_anything_to_share_costs_the_others_nothing(left_behind: bool, tmp_path: Path) -> None:
    """Also where notes of parts are left of a file that was finished, or its array is lost."""
    path = tmp_path / "a.npy"
    if left_behind:
        path.with_suffix(".building4").write_bytes(np.ones(len(PARTS)).tobytes())
    context = multiprocessing.get_context("fork")
    alone = context.Event()
    process = context.Process(target=_die_at_the_start, args=(path, alone))
    process.start()
    assert alone.wait(60)
    assert np.array_equal(on_disk(path, work()).values, EXPECTED)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.json", "a.npy"]
