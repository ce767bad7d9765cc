"""What fitting a run's method gives back, and the evaluation of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.api.metric import Predictions, Values, score
from harness.data.dataset import Split
from harness.errors import HarnessError
from harness.methods import Hooks
from harness.models.network import AdaptedModel
from harness.runs.costs import Costs
from harness.runs.prepare import PreparedRun
from harness.training.session import TrainingSession

Fitting = Generator[TrainingSession, None, "FittedModel"]  # yields sessions; the caller trains each before it goes on


class Stopped(Exception):
    """A run stopped before it was complete.

    Attributes:
        status: pruned | paused (at its limit) | stopped (checkpointed, to resume later) | taken (over by another
            process).
        costs: of what was computed.
        validation: metrics of the best epoch so far.
    """

    told = True  # all ranks stop at the same step (`harness.training.ranks`)

    def __init__(self, status: str, costs: Costs | None = None, validation: Values | None = None) -> None:
        super().__init__(status)
        self.status, self.costs, self.validation = status, costs or Costs(), validation or {}


@dataclass(frozen=True)
class FittedModel:
    """The result of fitting.

    Attributes:
        costs: of fitting and of the inputs for evaluation.
        network, hooks: the adapted model; None for a run that only tunes by folds.
        predict: returns the predictions for a split that the run evaluates.
        validation: mean metrics of the folds; {} without folds.
        warnings: for the record.
        features: returns the features (n, d) of a split on which the head was fitted; None: those of the network.
        prepared: the run with what fitting added to its data, such as examples in prompts; None: nothing.
    """

    costs: Costs
    network: AdaptedModel | None = None
    hooks: Hooks = field(default_factory=Hooks)
    predict: Callable[[Split], Predictions] | None = None
    validation: Values = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    features: Callable[[Split], npt.NDArray[np.float32]] | None = None
    prepared: PreparedRun | None = None


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a fitted model.

    Attributes:
        metrics: `val` and `test`.
        predictions: {validation, test: (split, predictions)}.
        costs: of predicting.
    """

    metrics: dict[str, Values]
    predictions: dict[str, tuple[Split, Predictions]]
    costs: Costs


def evaluate(run: PreparedRun, fitted: FittedModel) -> Evaluation:
    """Predict, evaluate and print the splits that a run evaluates.

    Raises:
        HarnessError: a prediction is not finite.
    """
    costs, found = Costs(), Evaluation({"val": dict(fitted.validation), "test": {}}, {}, Costs())
    for name, split in run.evaluated().items() if fitted.predict is not None else ():
        assert fitted.predict is not None
        with costs.phase("evaluate"):
            predicted = fitted.predict(split)
            values = run.task.evaluate(split.targets, predicted)
            used = fitted.prepared or run
            encoder = used.encoder
            usage = used.task.usage(split, predicted, encoder.tokenizer, encoder.backbone)
        costs |= usage
        if values["loss"] is None:
            raise HarnessError(f"the predictions of the {name} rows are not finite.")
        found.predictions[name] = (split, predicted)
        found.metrics["val" if name == "validation" else "test"] = values
        shown = "dev" if name == "validation" else "test"
        run.say(f"{shown.capitalize()} loss: {values['loss']:.3f}, {score(run.metric, values, shown)}")
    return Evaluation(found.metrics, found.predictions, costs)


def mean_values(folds: Sequence[Values]) -> Values:
    """Average metrics over folds; a metric is None if any fold has no value."""
    columns = {name: [fold[name] for fold in folds] for name in folds[0]}
    return {
        name: None if any(value is None for value in values) else float(np.mean([v for v in values if v is not None]))
        for name, values in columns.items()
    }
