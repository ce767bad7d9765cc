"""What an 8-bit export knows of its reliability: fitted anew, since its outputs are not those of the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.data.dataset import Dataset, Split
from harness.export.formats import Original, Outputs
from harness.export.proof import network_outputs
from harness.models.heads import KnnHead
from harness.serving.confidence.fitting import Pass, fit_confidence
from harness.serving.confidence.stored import KEY, OUTSIDE, TEST, VALIDATION


def with_quantized_confidence(original: Original, quantized: Outputs, data: Dataset | None) -> Original:
    """Return a model with the temperature, rows and scores that its 8-bit outputs have.

    Args:
        original: the model; its confidence is of its own outputs.
        quantized: the outputs of the export.
        data: of its run; without them nothing is known of the export's reliability, and nothing is kept of the model's.
    """
    known, predictor = original.predictor.confidence, original.predictor
    if known is None:
        return original
    facts = {key: value for key, value in original.facts.items() if key != KEY}
    if data is None:
        return replace(original, predictor=replace(predictor, confidence=None), facts=facts)
    splits = {split.name: split for split in (data.validation, data.test, *data.outside) if split is not None}
    splits = {name: split for name, split in splits.items() if name in known.parts}
    outputs = {name: network_outputs(original, split, quantized) for name, split in splits.items()}
    judged = {name: (split, predictor.task.predictions(outputs[name])) for name, split in splits.items()}
    outside = {name: judged.pop(name) for name in OUTSIDE.values() if name in judged}
    nothing = np.zeros((0, predictor.task.outputs), dtype=np.float32)

    def passed(split: Split) -> Pass:  # of training rows only the features count, and there are none
        return Pass(outputs.get(split.name, nothing), None)

    found = fit_confidence(
        {name: judged[name] for name in (VALIDATION, TEST) if name in judged}, outside,
        passed if known.detectors else None, data.train, isinstance(predictor.network.head, KnnHead),
    )  # fmt: skip
    return replace(original, predictor=replace(predictor, confidence=found), facts=facts | found.facts())
