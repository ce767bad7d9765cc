"""Training rows that go along with an export, if its user asks for them."""

from __future__ import annotations

import numpy as np

from harness.config.instantiate import build
from harness.data.dataset import Dataset
from harness.errors import HarnessError
from harness.export.formats import Original
from harness.export.winner import Winner
from harness.serving.confidence.judging import has_features, outputs_and_features
from harness.serving.training_rows import MOST, TrainingRows


def training_rows(original: Original, winner: Winner) -> TrainingRows:
    """Return evenly spread training rows of a run with the features that its model gives them.

    Raises:
        HarnessError: the model has no classes or no features, or the run's data are not found.
    """
    predictor = original.predictor
    if not predictor.labels or original.writes or not has_features(predictor.network):
        raise HarnessError(
            "--examples compares rows by the pooled vectors of a model of classes; this model has none: leave it out."
        )
    config = winner.run.read_config() if winner.run is not None else {}
    if not config:
        raise HarnessError(f"{winner.model} lies in no run's directory, so its training rows are not known: leave "
                           "--examples out.")  # fmt: skip
    try:
        data: Dataset = build(config["task"], config.get("packages", ())).load()
    except HarnessError as error:
        raise HarnessError(
            "--examples needs the training rows of this run, which cannot be read: " + " ".join(error.problems)
        ) from error
    train = data.train
    places = np.unique(np.linspace(0, len(train) - 1, min(len(train), MOST)).astype(np.int64))
    split = train.take(places, "train")
    _, features = outputs_and_features(predictor, predictor.examples(split.texts, split.pairs), True)
    assert features is not None
    names = [predictor.labels[target] for target in split.targets]
    pairs = [{}] * len(split) if split.pairs is None else [{"pair": pair} for pair in split.pairs]
    rows = ({"text": text, **pair, "label": name} for text, pair, name in zip(split.texts, pairs, names, strict=True))
    return TrainingRows(features, tuple(rows))
