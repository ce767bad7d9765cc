"""A small data set, written here, and runs on it with the real MiniLM."""

from __future__ import annotations

import csv
import functools
import json
import random
import tempfile
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.records.record import Record
from harness.records.run_spec import RunSpec
from harness.records.signature import signature

ROOT = Path(__file__).resolve().parents[2]

SUBJECTS = {
    "delivery": ["my parcel", "the courier", "the shipment", "the package", "delivery of the box"],
    "refund": ["my refund", "the money back", "the reimbursement", "the returned payment", "the credit"],
    "password": ["my password", "the login code", "the sign-in", "my account access", "the reset mail"],
}
CLOSINGS = ["please", "help", "why", "sir", "thanks"]
PREDICATES = [
    "is late again",
    "never arrived",
    "has still not come",
    "is missing since monday",
    "does not show up",
    "is gone",
]


def write_rows(path: Path, per_class: int, seed: int, classes: int = 3) -> Path:
    """Write a CSV file (text, topic) of short messages."""
    source = random.Random(seed)
    rows = [
        (
            f"{source.choice(subjects)} {source.choice(PREDICATES)} {source.choice(CLOSINGS)}",
            topic,
        )
        for topic, subjects in list(SUBJECTS.items())[:classes]
        for _ in range(per_class)
    ]
    source.shuffle(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "topic"))
        writer.writerows(rows)
    return path


def minilm() -> dict[str, Any]:
    """Read conf/model/minilm.yaml."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8"))
    return found


@functools.cache
def shorten(blocks: int = 2, words: int = 8000) -> Path:
    """Write MiniLM's first blocks and its commonest words, once a process: real weights, at a fourth of the cost."""
    from harness.models.network import load_backbone, load_tokenizer

    directory = Path(tempfile.mkdtemp(prefix="minilm-"))  # the session removes it
    resolved = build(minilm()).resolve(directory)
    backbone: Any = load_backbone(resolved, "mean", 0)
    backbone.encoder.layer = backbone.encoder.layer[:blocks]
    backbone.config.num_hidden_layers = blocks
    backbone.resize_token_embeddings(words)  # the vocabulary is in the order of frequency
    backbone.save_pretrained(str(directory))
    load_tokenizer(resolved).save_pretrained(str(directory))
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] = {word: number for word, number in content["model"]["vocab"].items() if number < words}
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return directory


def config(
    directory: Path,
    cache: Path,
    method: str = "lora",
    task: dict[str, Any] | None = None,
    classes: int = 3,
    backbone: Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Compose a run's configuration from conf/, of MiniLM or a backbone; `changes` are `section__key=value`."""
    for number, name in enumerate(("train", "validation", "test")):
        if not (directory / f"{name}.csv").exists():
            write_rows(directory / f"{name}.csv", (10, 8, 8)[number], number, classes)
    overlay = yaml.safe_load((ROOT / "conf/method" / f"{method}.yaml").read_text(encoding="utf-8"))
    node = {
        "kind": "text_classification",
        "name": "small",
        "metric": "accuracy",
        "path": str(directory / "train.csv"),
        "validation_path": str(directory / "validation.csv"),
        "test_path": str(directory / "test.csv"),
        "label": "topic",
        "max_length": 32,
    }
    composed: dict[str, Any] = {
        "task": node | (task or {}),
        "model": minilm(),
        "method": overlay["method"],
        "train": asdict(TrainConfig()) | {"epochs": 2, "batch_size": 8} | overlay.get("train", {}),
        "seed": 0,
        "device": "cpu",
        "cache_dir": str(cache),
        "packages": [],
    }
    if backbone is not None:
        composed["model"] |= {"path": str(backbone), "hub": None, "revision": None, "bundled": None, "digests": {}}
    for key, value in changes.items():
        *sections, last = key.split("__")
        target = composed
        for section in sections:
            target = target[section]
        target[last] = value
    return composed


def short_config(*arguments: Any, **changes: Any) -> dict[str, Any]:
    """`config`, of MiniLM's first blocks, for runs whose weights must be real but need not be all of them."""
    return config(*arguments, **({"backbone": shorten()} | changes))


def spec(composed: dict[str, Any], directory: Path, phase: str = "single", **more: Any) -> RunSpec:
    """Plan a run as the coordinator does: with the signature of its configuration, data and model."""
    fingerprint = build(composed["task"]).load().fingerprint
    model = build(composed["model"]).resolve(composed["cache_dir"]).digest
    return RunSpec(
        directory=str(directory),
        config=deepcopy(composed),
        signature=signature(composed, phase, fingerprint, model),
        study="study",
        cell=f"small.minilm.{composed['method']['name']}",
        phase=phase,
        **more,
    )


def record(planned: RunSpec) -> Record:
    """Read the record that a run left."""
    found = Record.read(planned.paths.record)
    assert found is not None
    return found
