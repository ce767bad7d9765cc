"""Passes that begin at the first trained block: the same numbers, from states that are computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.data.examples import STATES, Examples
from harness.data.tokenization import Tokens
from harness.features.worker_state import WORKER_STATE
from harness.methods.last_layers import LastLayers
from harness.records.files import write_json
from harness.records.record import Record
from harness.records.run_spec import RunBatch
from harness.runs.execute import execute
from harness.status.discovery import read_json
from tests.helpers import networks
from tests.helpers.small_dataset import config, record, spec
from tests.helpers.tiny_models import TINY

# ALBERT's blocks share their weights, so all of them train; T5's first block hands the others its positions.
WHOLE = {"albert-base", "t5-base"}
PARTS = sorted(set(TINY) - WHOLE)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """One thread, and nothing that other tests of this process left warm."""
    torch.set_num_threads(1)
    WORKER_STATE.states.values.clear()


def adapted(kind: str, pooling: str = "mean") -> Any:
    """A tiny network whose last block trains."""
    network = networks.network(kind, pooling)
    LastLayers(name="last_layers", layers=1).adapt(network, networks.model(pooling), 10)
    return network.eval()


@pytest.mark.parametrize("kind", sorted(TINY))
def test_architectures_whose_passes_can_begin_at_a_block(kind: str) -> None:
    """All but two; the trial tells, and leaves the model as it was."""
    network, batch = adapted(kind), networks.batch()
    before = network(batch)
    works = network.boundary.frozen > 0 and network.boundary.works(batch)
    assert works == (kind not in WHOLE)
    assert torch.equal(network(batch), before)


@pytest.mark.parametrize(("kind", "pooling"), [*((kind, "mean") for kind in PARTS), ("bert-base", "model")])
def test_logits_and_gradients_from_states(kind: str, pooling: str) -> None:
    """States stored without padding give the logits and gradients of the whole pass, whatever they are padded to."""
    network, batch = adapted(kind, pooling), networks.batch()
    mask = batch["attention_mask"].bool()
    assert network.boundary.works(batch)
    with torch.no_grad():
        states = network.boundary.states(batch)[mask].numpy()
    lengths = mask.sum(dim=1).numpy()
    offsets = np.cumsum([0, *lengths])
    tokens = Tokens(batch["input_ids"][mask].numpy().astype(np.int32), offsets, None, 0)
    labels = np.arange(len(lengths)) % 3
    for rows in (np.arange(len(lengths)), np.array([5, 3])):
        results = []
        for given in (None, states):
            inputs = Examples(tokens, labels, 0, given).batch(rows, torch.device("cpu"))
            assert (STATES in inputs) == (given is not None)
            network.zero_grad()
            logits = network(inputs)
            functional.cross_entropy(logits, torch.from_numpy(labels[rows])).backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            results.append([logits, *(p.grad for p in network.trainable().values())])
        for whole, part in zip(*results, strict=True):
            assert torch.allclose(whole, part, rtol=1e-4, atol=1e-6)


def test_what_does_not_train_does_not_drop_out() -> None:
    """In training mode the frozen blocks give the same states at every pass, and the trained block does drop out."""
    network, batch = adapted("bert-base"), networks.batch()
    network.set_dropout(0.5)
    quiet = network.boundary.states(batch)
    network.train()
    assert torch.equal(network.boundary.states(batch), quiet)
    assert not torch.equal(network(batch), network(batch))


def run(directory: Path, name: str, **changes: Any) -> Record:
    """One confirmation of last_layers on real weights."""
    composed = config(directory, directory / "cache", "last_layers", **changes)
    planned = spec(composed, directory / name, phase="confirm")
    execute(RunBatch((planned,)))
    return record(planned)


def test_runs_share_states_and_do_not_depend_on_them(tmp_path: Path) -> None:
    """States are computed once for training, validation and test rows; without room for them the result is the same."""
    cold = run(tmp_path, "cold")
    files = sorted((tmp_path / "cache/states").glob("*.npy"))
    assert len(files) == 3 and cold.status == "ok"
    written = [file.stat().st_mtime_ns for file in files]
    WORKER_STATE.states.values.clear()
    notes = [file.with_suffix(".json") for file in files]
    for note in notes:
        write_json(note, read_json(note) | {"seconds": 1000.0})
    warm = run(tmp_path, "warm")
    assert [file.stat().st_mtime_ns for file in files] == written
    assert warm.metrics == cold.metrics and cold.signature == warm.signature
    # Each run is charged for the states, whoever computed them: once to train, and once to judge either split.
    assert 1000 < warm.cost["train_seconds"] < 1100 and 2000 < warm.cost["evaluate_seconds"] < 2100
    assert warm.cost["total_seconds"] < 1000
    WORKER_STATE.states.values.clear()
    without = run(tmp_path, "without", cache_gb=0)
    assert without.signature == cold.signature
    for split in ("val", "test"):
        assert without.metrics[split]["loss"] == pytest.approx(cold.metrics[split]["loss"], rel=1e-4)


def test_adversarial_steps_begin_with_the_tokens(tmp_path: Path) -> None:
    """FGM moves embeddings, which lie below the boundary: such a run keeps no states."""
    made = run(tmp_path, "run", train__fgm=0.1)
    assert made.status == "ok" and not (tmp_path / "cache/states").exists()
