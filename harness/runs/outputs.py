"""What a run writes besides its record: predictions and the adapted model."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from harness.api.metric import Predictions
from harness.data.dataset import Split
from harness.models.heads import SCALE, KnnHead
from harness.models.inference import predict_all
from harness.models.network import AdaptedModel
from harness.records.files import atomic
from harness.records.states import Phase
from harness.records.study_files import GROUP, SCOPE, SCORE
from harness.runs.costs import Costs
from harness.runs.fitted import Evaluation, FittedModel
from harness.runs.measurements import weight_bytes
from harness.runs.prepare import PreparedRun
from harness.serving.confidence.fitting import Pass, fit_confidence
from harness.serving.confidence.stored import Confidence
from harness.serving.saved_model import describe, save_model

Evaluated = dict[str, tuple[Split, Predictions]]


def write_outputs(run: PreparedRun, fitted: FittedModel, evaluation: Evaluation) -> Costs:
    """Write the predictions and, if requested, the model. Return what that took."""
    costs = Costs()
    with costs.phase("save"):
        saves = fitted.network is not None and (run.spec.save_model or run.spec.phase == Phase.SINGLE)
        confidence, outside = judged(run, fitted, evaluation, saves)
        if run.tests:
            write_predictions(run, evaluation, outside, confidence)
        if fitted.network is not None:
            costs["saved_bytes"] = weight_bytes(fitted.network)
            if saves:
                costs["saved_bytes"] = save_fitted(run, fitted, run.spec.paths.model, confidence)
    return costs


def save_fitted(run: PreparedRun, fitted: FittedModel, directory: Any, confidence: Confidence | None = None) -> int:
    """Save the adapted model; see `save_model`."""
    encoder, config = run.encoder, run.spec.config
    assert fitted.network is not None  # of a run that evaluates
    facts = describe(
        encoder.model, encoder.resolved, encoder.task, encoder.length, run.data.pairs,
        config["task"]["name"], config["method"]["name"],
    )  # fmt: skip
    return save_model(
        directory, fitted.network, fitted.hooks, encoder.tokenizer, facts, encoder.resolved.start, confidence
    )


def judged(
    run: PreparedRun, fitted: FittedModel, evaluation: Evaluation, saves: bool
) -> tuple[Confidence | None, Evaluated]:
    """Fit what a classifier knows of its reliability, and predict the rows of no class.

    Detectors are fitted only where the task names such rows (`task.oos_label`): they take a pass over training rows.

    Returns:
        None for a run that needs none; the predictions for rows of no class, by split.
    """
    network = fitted.network
    if not (run.tests and run.task.classifies and evaluation.predictions) or not isinstance(network, AdaptedModel):
        return None, {}
    if not run.data.outside:
        known = fit_confidence(evaluation.predictions, {}, None, run.data.train, False) if saves else None
        return known, {}
    # Computed for the detectors and for the predictions; a fingerprint has each split once.
    passed = lru_cache(maxsize=None)(lambda name: _pass(run, fitted, network, splits[name]))
    splits = {split.name: split for split in (run.data.train, *run.evaluated().values(), *run.data.outside)}
    outside = {split.name: (split, run.task.predictions(passed(split.name).outputs)) for split in run.data.outside}
    votes = isinstance(network.head, KnnHead)
    known = fit_confidence(evaluation.predictions, outside, lambda split: passed(split.name), run.data.train, votes)
    return known, outside


def _pass(run: PreparedRun, fitted: FittedModel, network: AdaptedModel, split: Split) -> Pass:
    """Compute logits and features of a split."""
    if fitted.features is not None:
        features = np.asarray(fitted.features(split))
        with torch.no_grad():
            assert network.head is not None
            outputs = network.head(SCALE * torch.tensor(features, device=_place(network))).float().cpu().numpy()
        return Pass(outputs, features)
    examples, size = run.encoder.examples(split), run.train.eval_batch_size
    training = network.training
    network.eval()

    def both(batch: Any) -> torch.Tensor:
        if network.head is None:
            logits: torch.Tensor = network(batch)
            return logits
        features = network.features(batch)
        return torch.cat([network.apply_head(features), features], dim=1)

    found = predict_all(both, examples, size, run.device, run.train.precision)
    network.train(training)
    if network.head is None:
        return Pass(found, None)
    return Pass(found[:, : network.classes], found[:, network.classes :])


def _place(network: AdaptedModel) -> torch.device:
    assert network.head is not None
    return next(network.head.parameters()).device


def write_predictions(
    run: PreparedRun, evaluation: Evaluation, outside: Evaluated | None = None, confidence: Confidence | None = None
) -> None:
    """Write predictions.parquet: rows with what the family stores of them, and a score for each metric.

    Rows of no class have no score of a metric; all rows have those of detectors, if there are any.
    """
    import pyarrow as pa
    from pyarrow import parquet

    task, beyond = run.task, outside or {}
    parts: list[Any] = []
    metadata: dict[str, str] = {}
    detectors = () if confidence is None else confidence.detectors
    for name, (split, predictions) in {**evaluation.predictions, **beyond}.items():
        stored, metadata = task.stored(split, predictions)
        scores = {} if name in beyond else task.row_scores(split.targets, predictions)
        # A metric without a value for a split has null there.
        columns: dict[str, Any] = {
            f"{SCORE}{metric}": scores.get(metric, [None] * len(split)) for metric in task.metrics
        }
        if confidence is not None:
            columns |= {f"{SCOPE}{each}": confidence.parts[name].scores[each] for each in detectors}
        ids = {"split": [name] * len(split), "id": split.ids}
        groups = {} if split.groups is None else {GROUP: split.groups}
        types = {"id": pa.int64(), GROUP: pa.string()} | dict.fromkeys(columns, pa.float64())
        everything = ids | groups | stored | columns
        parts.append(pa.table({key: pa.array(values, types.get(key)) for key, values in everything.items()}))
    table = pa.concat_tables(parts).replace_schema_metadata(metadata | {"family": task.family})
    with atomic(run.spec.paths.predictions) as temporary:
        parquet.write_table(table, temporary)
