"""What a run writes besides its record: predictions and the adapted model."""

from __future__ import annotations

from typing import Any

from harness.records.files import atomic
from harness.records.states import Phase
from harness.records.study_files import GROUP, SCORE
from harness.runs.costs import Costs
from harness.runs.fitted import Evaluation, FittedModel
from harness.runs.measurements import weight_bytes
from harness.runs.prepare import PreparedRun
from harness.serving.saved_model import describe, save_model


def write_outputs(run: PreparedRun, fitted: FittedModel, evaluation: Evaluation) -> Costs:
    """Write the predictions and, if requested, the model. Return what that took."""
    costs = Costs()
    with costs.phase("save"):
        if run.tests:
            write_predictions(run, evaluation)
        if fitted.network is not None:
            costs["saved_bytes"] = weight_bytes(fitted.network)
            if run.spec.save_model or run.spec.phase == Phase.SINGLE:
                costs["saved_bytes"] = save_fitted(run, fitted, run.spec.paths.model)
    return costs


def save_fitted(run: PreparedRun, fitted: FittedModel, directory: Any) -> int:
    """Save the adapted model; see `save_model`."""
    encoder, config = run.encoder, run.spec.config
    assert fitted.network is not None  # of a run that evaluates
    facts = describe(
        encoder.model, encoder.resolved, encoder.task, encoder.length, run.data.pairs,
        config["task"]["name"], config["method"]["name"],
    )  # fmt: skip
    return save_model(directory, fitted.network, fitted.hooks, encoder.tokenizer, facts, encoder.resolved.start)


def write_predictions(run: PreparedRun, evaluation: Evaluation) -> None:
    """Write predictions.parquet: rows with what the family stores of them, and a score for each metric."""
    import pyarrow as pa
    from pyarrow import parquet

    task = run.task
    parts: list[Any] = []
    metadata: dict[str, str] = {}
    for name, (split, predictions) in evaluation.predictions.items():
        stored, metadata = task.stored(split, predictions)
        scores = task.row_scores(split.targets, predictions)
        # A metric without a value for a split has null there.
        columns = {f"{SCORE}{metric}": scores.get(metric, [None] * len(split)) for metric in task.metrics}
        ids = {"split": [name] * len(split), "id": split.ids}
        groups = {} if split.groups is None else {GROUP: split.groups}
        types = {"id": pa.int64(), GROUP: pa.string()} | dict.fromkeys(columns, pa.float64())
        everything = ids | groups | stored | columns
        parts.append(pa.table({key: pa.array(values, types.get(key)) for key, values in everything.items()}))
    table = pa.concat_tables(parts).replace_schema_metadata(metadata | {"family": task.family})
    with atomic(run.spec.paths.predictions) as temporary:
        parquet.write_table(table, temporary)
