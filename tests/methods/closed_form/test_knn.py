"""Nearest neighbours: scikit-learn's probabilities, and a head that is saved as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.errors import HarnessError
from harness.methods import NeighbourHead
from harness.methods.closed_form.knn import Knn
from harness.models.heads import SCALE
from harness.records.run_spec import RunBatch
from harness.runs.closed_form import head_module
from harness.runs.execute import execute
from harness.serving.predict import load
from harness.serving.saved_model import read_description
from tests.helpers.small_dataset import config, record, spec

Floats = npt.NDArray[np.float32]


def points(rows: int, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Normalised vectors around four directions, and which one."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(rows) % 4)
    features = np.eye(4, 6)[labels] + 0.5 * generator.normal(size=(rows, 6))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def shares(method: Knn, rows: int = 60) -> Floats:
    """Probabilities of 25 other points."""
    features, labels = points(rows, 0)
    head = method.fit(features, labels, np.zeros((4, 6), np.float32))
    logits = head_module(head)(SCALE * torch.from_numpy(points(25, 1)[0]))
    found: Floats = logits.softmax(dim=-1).numpy()
    return found


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.5)])
def test_votes_are_those_of_scikit_learn(k: int, temperature: float) -> None:
    """The probabilities are those of its classifier with votes of exp(similarity / temperature)."""
    from sklearn.neighbors import KNeighborsClassifier

    def votes(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.exp((1 - distances) / temperature)  # its cosine distance is 1 - similarity

    expected = KNeighborsClassifier(k, weights=votes, metric="cosine").fit(*points(60, 0))
    found = shares(Knn(name="knn", k=k, temperature=temperature))
    # A class without a vote has a millionth, so that no logarithm is infinite.
    np.testing.assert_allclose(found, expected.predict_proba(points(25, 1)[0]), atol=1e-5)


def test_more_neighbours_than_rows_are_all_rows() -> None:
    """A k above the number of rows lets every row vote, as few shots in a fold need it."""
    head = Knn(name="knn", k=100).fit(*points(8, 0), np.zeros((4, 6), np.float32))
    assert isinstance(head, NeighbourHead) and head.k == 8
    np.testing.assert_array_equal(shares(Knn(name="knn", k=100), 8), shares(Knn(name="knn", k=8), 8))


def test_a_run_keeps_its_rows_and_loads_again(tmp_path: Path, cache: Path) -> None:
    """The saved head holds a vector a training row, nothing of their texts, and says so; folds count what they fit."""
    planned = spec(config(tmp_path, cache, "knn", method__k=3), tmp_path / "knn")
    execute(RunBatch((planned,)))
    facts = read_description(planned.paths.model)
    assert facts["neighbours"] == {"rows": 30, "k": 3, "temperature": 0.07}
    assert record(planned).cost["params_trainable"] == 30 * (384 + 1)
    assert load(planned.paths.model, "cpu", cache).predict(["the courier never arrived"]) == ["delivery"]
    task = {"validation_path": None, "validation": "kfold", "folds": 5}
    folded = spec(config(tmp_path, cache, "knn", task=task), tmp_path / "folds", phase="tune")
    execute(RunBatch((folded,)))
    assert record(folded).error is None and record(folded).cost["params_trainable"] == 24 * (384 + 1)


def test_settings_are_checked() -> None:
    """No neighbours and no temperature are told together."""
    with pytest.raises(HarnessError) as raised:
        Knn(name="knn", k=0, temperature=0.0)
    assert len(raised.value.problems) == 2
