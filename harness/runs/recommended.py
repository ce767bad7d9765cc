"""Fitting of recommenders that a formula gives."""

from __future__ import annotations

import numpy as np

from harness.api.metric import Predictions
from harness.data.dataset import Split
from harness.methods import Recommender
from harness.models.language.language_model import network_on
from harness.models.network import AdaptedModel
from harness.runs.costs import Costs
from harness.runs.fitted import FittedModel, Fitting
from harness.runs.prepare import PreparedRun


def fit_recommender(run: PreparedRun, method: Recommender) -> Fitting:
    """Fit a scorer to the histories of training; yields no session.

    Raises:
        HarnessError: there are too many items for the method.
    """
    yield from ()
    costs = Costs()
    with costs.phase("train"):
        network = fitted_network(run, method)
    tokens = run.encoder.examples(run.data.train).tokens
    size = sum(p.numel() for p in network.parameters())
    costs |= {"params_trainable": size, "params_total": size, "samples": len(tokens), "tokens": len(tokens.ids)}

    def predict(split: Split) -> Predictions:
        config = run.train
        return run.task.predict(
            network, run.encoder.examples(split), config.eval_batch_size, run.device, config.precision
        )

    return FittedModel(costs.with_speed(), network, predict=predict)


def fitted_network(run: PreparedRun, method: Recommender) -> AdaptedModel:
    """Return the network with a fitted scorer, on the run's device, in eval mode."""
    tokens = run.encoder.examples(run.data.train).tokens
    histories = np.split(np.asarray(tokens.ids, dtype=np.int64), tokens.offsets[1:-1])
    network = network_on(run.encoder.backbone, run.encoder.model.pooling, run.data.outputs)
    network.head = method.fit(histories, run.data.outputs)
    return network.requires_grad_(False).to(run.device).eval()
