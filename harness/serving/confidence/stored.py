"""What a saved classifier knows of its own reliability, in its folder.

    confidence.safetensors   for each part (validation, test, and those of rows of no class): `<part>.confidence` (n,),
                             `<part>.right` (n,), `<part>.score_<detector>` (n,) and `<part>.classes` (C,); of
                             detectors on features the fields of `FeatureStatistics`
    harness.json             `confidence`: the temperature and the names of the detectors
These are numbers about rows in no order that tells which; there are no texts among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.serving.confidence.detectors import DETECTORS, KNN, OF_FEATURES, FeatureStatistics
from harness.statistics.confidence.auroc import separation

FILE = "confidence.safetensors"
KEY = "confidence"  # of harness.json
VALIDATION, TEST = "validation", "test"
OUTSIDE = {VALIDATION: "validation_outside", TEST: "test_outside"}


@dataclass(frozen=True)
class Part:
    """The rows of a split, as a model judges them.

    Attributes:
        confidence: (n,) calibrated probability of the predicted class.
        right: (n,) whether that is the row's class; false for rows of no class.
        scores: (n,) of each detector.
        classes: (C,) rows that are predicted to be of each class; None in models of earlier versions.
    """

    confidence: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]
    scores: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    classes: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Confidence:
    """See the module.

    Attributes:
        temperature: by which probabilities are calibrated.
        parts: by name.
        detectors: names of those that were fitted.
        statistics: of the training rows' features; None without detectors on features.
    """

    temperature: float
    parts: Mapping[str, Part]
    detectors: tuple[str, ...] = ()
    statistics: FeatureStatistics | None = None

    def detector(self, by_features: bool) -> str | None:
        """Return the detector to use: the best on validation rows, else the first of `DETECTORS`; None without any.

        Args:
            by_features: whether the features of new rows are known.
        """
        bank = self.statistics is not None and self.statistics.bank is not None
        usable = [
            name
            for name in DETECTORS
            if name in self.detectors and (name not in OF_FEATURES or by_features) and (name != KNN or bank)
        ]
        inside, outside = self.parts.get(VALIDATION), self.parts.get(OUTSIDE[VALIDATION])
        if inside is None or outside is None:
            return usable[0] if usable else None
        areas = {name: separation(inside.scores[name][None], outside.scores[name][None]).area for name in usable}
        return max(usable, key=lambda name: areas[name], default=None)

    def without_rows(self) -> Confidence:
        """Return it without features of single training rows."""
        if self.statistics is None:
            return self
        return replace(self, statistics=replace(self.statistics, bank=None))

    def facts(self) -> dict[str, Any]:
        """Return its key of harness.json."""
        return {KEY: {"temperature": self.temperature, "detectors": list(self.detectors)}}

    def write(self, directory: Path) -> None:
        """Write its file."""
        from safetensors.numpy import save_file

        tensors: dict[str, npt.NDArray[Any]] = {}
        for name, part in self.parts.items():
            tensors[f"{name}.confidence"] = part.confidence.astype(np.float32)
            tensors[f"{name}.right"] = part.right.astype(np.uint8)
            tensors |= {f"{name}.score_{which}": each.astype(np.float32) for which, each in part.scores.items()}
            if part.classes is not None:
                tensors[f"{name}.classes"] = part.classes.astype(np.int64)
        if self.statistics is not None:
            known = vars(self.statistics).items()
            tensors |= {key: np.ascontiguousarray(value) for key, value in known if value is not None}
        save_file(tensors, directory / FILE)


def read_confidence(directory: Path, facts: Mapping[str, Any]) -> Confidence | None:
    """Read what a saved model knows; None for a model that knows nothing, as those of earlier versions.

    Args:
        directory: the saved model or export.
        facts: its harness.json.

    Raises:
        HarnessError: its file is missing or damaged.
    """
    if KEY not in facts:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(directory / FILE)
        names = tuple(facts[KEY]["detectors"])
        parts = {
            name: Part(
                tensors[f"{name}.confidence"].astype(np.float64),
                tensors[f"{name}.right"].astype(bool),
                {which: tensors[f"{name}.score_{which}"].astype(np.float64) for which in names},
                tensors.get(f"{name}.classes"),
            )
            for name in (VALIDATION, TEST, *OUTSIDE.values())
            if f"{name}.confidence" in tensors
        }
        statistics = None
        if "whitening" in tensors:
            statistics = FeatureStatistics(
                tensors["whitening"], tensors["means"], tensors["background"], tensors["middle"], tensors.get("bank")
            )
        return Confidence(float(facts[KEY]["temperature"]), parts, names, statistics)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{directory / FILE} cannot be read ({error}): save or export the model again.") from error
