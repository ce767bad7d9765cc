"""A study with curves as runs leave them, and readers of what trackers write."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.records.files import append_jsonl
from tests.helpers import study_directories

CELL = "demo.minilm.lora"
CONFIG = {
    "task": {"name": "demo", "path": "/somewhere/private.csv"},
    "train": {"lr": 0.002, "epochs": 2},
    "runs_dir": "/somewhere",
    "slurm": {"environment": {"TOKEN": "secret"}},
}


def add(study: Path, name: str, epochs: int = 2, status: str = "ok", **more: Any) -> Path:
    """Write a run with a curve of so many epochs; give its directory."""
    paths = study_directories.run(
        study, CELL, name, status, val=0.5 + 0.1 * epochs, hyperparameters={"train.lr": 0.002},
        started="2026-03-02T10:00:00.000+00:00", **more,
    )  # fmt: skip
    paths.config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    paths.metrics.unlink(missing_ok=True)
    for epoch in range(1, epochs + 1):
        line = {"epoch": epoch, "train_loss": 1 / epoch, "val": {"accuracy": 0.5 + 0.1 * epoch}, "seconds": 2.0 * epoch}
        append_jsonl(paths.metrics, line)
    return paths.directory


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A trial, one that failed, a confirmation and a trial under way."""
    study = tmp_path / "runs" / "support"
    study_directories.sweep(study, {CELL: {}})
    add(study, "trial0000")
    add(study, "trial0001", 1, "failed", error="No luck.")
    add(study, "confirm-seed2")
    add(study, "trial0002", 1, "running")
    return study


def wandb_records(folder: Path) -> Iterator[Any]:
    """An offline run's records: blocks of 32 KiB in LevelDB's log format, each record a message of W&B's schema."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    content, at, whole = path.read_bytes(), 7, b""  # a header comes first
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def wandb_runs(study: Path) -> dict[str, dict[str, Any]]:
    """What the offline runs of a study hold, by display name."""
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted((study / "wandb").glob("offline-run-*")):
        run: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "artifacts": [], "id": None, "exit": None}
        for record in wandb_records(folder):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run |= {"name": record.run.display_name, "group": record.run.run_group, "type": record.run.job_type}
                run["id"] = record.run.run_id
                run["config"] |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            elif kind == "history":
                items = record.history.item
                run["history"].append({each.key or each.nested_key[0]: json.loads(each.value_json) for each in items})
            elif kind == "summary":
                update = record.summary.update
                run["summary"] |= {each.key or each.nested_key[0]: json.loads(each.value_json) for each in update}
            elif kind == "artifact":
                run["artifacts"].append(
                    (record.artifact.name, [entry.path for entry in record.artifact.manifest.contents])
                )
            elif kind == "exit":
                run["exit"] = record.exit.exit_code
        found[run["name"]] = run
    return found
