"""What `auto` means is settled once a study; what began earlier goes on as it began."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.design.numerics import numerics, slow_precision
from harness.records.signature import ignored_keys
from harness.system import machine

KEYS = "train.dropout_masks", "train.precision"


def asked(precision: str = "fp32", kind: str = "local", device: str = "cpu") -> Any:
    return SimpleNamespace(
        train=SimpleNamespace(precision=precision), launch=SimpleNamespace(kind=kind), device=device
    )  # fmt: skip


def began(directory: Path, **content: Any) -> Path:
    directory.mkdir()
    (directory / "sweep.yaml").write_text(yaml.safe_dump({"cells": [], **content}), encoding="utf-8")
    return directory


@pytest.mark.parametrize(("flags", "expected"), [("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx512f", "fp32")])
def test_auto_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: str
) -> None:
    """On a CPU, products of bfloat16 by its flags; on Slurm always float32; a study keeps what it began with."""
    monkeypatch.setattr(machine.Path, "read_text", lambda path, encoding: f"flags\t: fpu {flags} sse\n")
    monkeypatch.setattr(machine.Path, "is_file", lambda path: True)
    assert numerics(None, asked("auto")) == {KEYS[0]: "lanes", KEYS[1]: expected}
    assert numerics(tmp_path / "new", asked("auto", "slurm"))[KEYS[1]] == "fp32"
    assert numerics(None, asked("bf16")) == {KEYS[0]: "lanes"}
    for base, space in (("auto", {}), ("fp32", {KEYS[1]: SimpleNamespace(values=("auto", "fp32"))})):  # an axis, tuned
        cell: Any = SimpleNamespace(base={"train": {"precision": base}}, cell=SimpleNamespace(space=space))
        assert numerics(None, asked(), [cell])[KEYS[1]] == expected
    assert not machine.multiplies_bfloat16("mps")
    for precision, kind in (("bf16", "local"), ("fp32", "local"), ("bf16", "slurm")):
        cell = SimpleNamespace(base={"train": {"precision": precision}}, cell=SimpleNamespace(space={}))
        told = (precision, kind, expected) == ("bf16", "local", "fp32")
        assert bool(slow_precision(asked(kind=kind), [cell])) == told


def test_a_study_goes_on_with_what_it_began_with(tmp_path: Path) -> None:
    """One without numerics was begun by an earlier version: PyTorch's masks."""
    assert numerics(began(tmp_path / "old"), asked()) == {KEYS[0]: "native"}
    other = "fp32" if numerics(None, asked("auto"))[KEYS[1]] == "bf16" else "bf16"
    kept = began(tmp_path / "kept", numerics={KEYS[0]: "lanes", KEYS[1]: other})
    assert numerics(kept, asked("auto")) == {KEYS[0]: "lanes", KEYS[1]: other}


def test_masks_of_earlier_runs_are_left_out_of_signatures() -> None:
    """`native` and `auto`, which runs of earlier versions have or lack, sign alike; `lanes` is another run."""
    for value in ("auto", "native"):
        assert KEYS[0] in ignored_keys({"train": {"dropout_masks": value}})
    assert KEYS[0] not in ignored_keys({"train": {"dropout_masks": "lanes"}})
