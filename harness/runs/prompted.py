"""Fitting of methods that only prompt: a pretrained model that writes texts, as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.api.metric import Predictions, score
from harness.data.dataset import Dataset, Split
from harness.errors import HarnessError
from harness.methods import Hooks, Prompted
from harness.models.network import AdaptedModel
from harness.runs.costs import Costs
from harness.runs.fitted import FittedModel, Fitting, mean_values
from harness.runs.prepare import PreparedRun
from harness.training.row_order import stream_seed


def fit_prompted(run: PreparedRun, method: Prompted) -> Fitting:
    """Put training rows into prompts, if the method does; yields no session.

    Raises:
        HarnessError: there are fewer training rows than the method puts into a prompt.
    """
    yield from ()
    costs, validation = Costs(train_seconds=0.0), {}
    network = run.encoder.network_as_loaded()
    prepared = run
    if run.by_folds:
        values = []
        for train, held_out in run.data.folds:
            prepared = with_examples(run, method, train)
            with costs.phase("evaluate"):
                values.append(run.task.evaluate(held_out.targets, _predict(prepared, network, held_out)))
        validation = mean_values(values)
        costs["folds"] = len(values)
        run.say(f"Mean of {len(values)} folds: {score(run.metric, validation, 'dev')}")
    if run.whole:
        prepared = with_examples(run, method, run.data.train)
    whole = sum(p.numel() for p in network.parameters())
    costs |= {"params_trainable": 0, "params_total": whole, "samples": 0, "tokens": 0}

    def predict(split: Split) -> Predictions:
        return _predict(prepared, network, split)

    return FittedModel(
        costs.with_speed(), network, Hooks(), predict if run.whole else None, validation, prepared=prepared
    )


def with_examples(run: PreparedRun, method: Prompted, train: Split) -> PreparedRun:
    """Return the run with training rows as examples in every prompt, drawn and ordered by its seed."""
    if method.shots == 0:
        return run
    if method.shots > len(train):
        raise HarnessError(
            f"method.shots={method.shots} exceeds the {len(train)} training rows: lower it, or add rows."
        )
    generator = np.random.default_rng(stream_seed(run.spec.config["seed"], "examples"))
    rows = generator.permutation(len(train))[: method.shots]
    data: Dataset = run.data.with_examples(train.take(rows, "examples"))
    prepared = replace(run, data=data, encoder=replace(run.encoder, data=data))
    for split in run.evaluated().values():
        for line in prepared.task.notes(prepared.encoder.examples(split), split):
            run.say(f"Note: {line}")
    return prepared


def _predict(run: PreparedRun, network: AdaptedModel, split: Split) -> Predictions:
    examples, config = run.encoder.examples(split), run.train
    return run.task.predict(network, examples, config.eval_batch_size, run.device, config.precision)
