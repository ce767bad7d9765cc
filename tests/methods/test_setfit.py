"""SetFit: its pairs, its loss, its head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.methods.setfit import SetFit, SetFitHooks
from harness.models.heads import SCALE
from harness.tasks.text_classification.linear_model import logistic_regression
from harness.training.loop import features, fit
from tests.helpers import networks
from tests.training.test_loop import session


def test_partners_are_of_the_right_class() -> None:
    """A row's partner is another of its class, itself where there is none, or one of another class; all occur."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    torch.manual_seed(0)
    drawn = {
        (row, alike): {SetFitHooks._partner(row, labels, alike) for _ in range(60)}
        for row in range(6)
        for alike in (True, False)
    }
    assert drawn[0, True] == {1, 2} and drawn[3, True] == {4} and drawn[5, True] == {5}
    assert drawn[0, False] == {3, 4, 5} and drawn[5, False] == {0, 1, 2, 3, 4}


def test_loss_is_the_squared_error_of_cosine_similarities() -> None:
    """With two rows a class and two classes whose rows are the same, the pairs are known, and so is the loss."""
    network = networks.network("bert-base")
    inputs = networks.batch(2)
    vectors = network.features(inputs)
    cosine = float((vectors[0] @ vectors[1]).detach())

    def batch(rows: np.ndarray) -> dict[str, torch.Tensor]:  # type: ignore[type-arg]  # as the loop's
        return {name: tensor[torch.as_tensor(rows) // 2] for name, tensor in inputs.items()}

    labels = np.array([0, 0, 1, 1])
    loss = SetFitHooks(2, 1.0).loss(network, np.array([0, 3]), batch, labels)
    assert loss is not None and loss.requires_grad
    # Rows of a class are equal, so alike pairs are perfect; the others should have no similarity.
    assert float(loss.detach()) == pytest.approx(cosine**2 / 2, abs=1e-6)


def test_training_gathers_classes_and_fits_the_head_to_them(tmp_path: Path, cache: Path) -> None:
    """Similarities within a class rise above those between; the head is the logistic regression on what came out."""
    training = session(tmp_path, cache, "setfit", backbone=None, train__epochs=1, train__lr=1e-4, method__C=3.0)
    labels = training.train.targets
    alike = labels[:, None] == labels[None, :]

    def gap() -> float:
        vectors = features(training)
        similar = vectors @ vectors.T
        return float(similar[alike].mean() - similar[~alike].mean())

    before = gap()
    fit([training])
    assert training.status == "done" and gap() > before + 0.1
    head = logistic_regression(features(training), labels, 3.0)
    fitted = training.network.head
    assert isinstance(fitted, torch.nn.Linear)
    np.testing.assert_allclose(fitted.weight.detach().numpy(), head.weight / SCALE, rtol=1e-4, atol=1e-6)


def test_what_cannot_work_is_told() -> None:
    """Settings out of range, and an architecture's own head, which has no pooled vector, have messages."""
    with pytest.raises(HarnessError) as raised:
        SetFit(name="setfit", pairs=0, C=0.0)
    assert len(raised.value.problems) == 2
    with pytest.raises(HarnessError, match=r"model\.pooling=model has none"):
        SetFit(name="setfit").adapt(networks.network("bert-base", "model"), networks.model("model"), 10)
