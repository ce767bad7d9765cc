"""What a method is: either a formula over frozen features, or a choice of parameters that the loop trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from harness.data.examples import Batch
    from harness.models import PretrainedModel
    from harness.models.classifier import Classifier

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Method(ABC):
    """One way to adapt a backbone (conf/method).

    Attributes:
        name: the file's name in conf/method.
        space: {override key: Hydra sweep string, or {sweep, when} for a conditional one} that tuning searches; the
            coordinator reads it.
        ignores: sections of the configuration that change nothing for this method, such as `train`: they are neither
            tuned nor part of a run's signature.
        resources: what a job needs at least, such as {mem_gb: 16}; joined with the model's and the cluster profile's.
        about: what docs/methods.md says of it: title, paper, trains, limits, `parameters`, a formula, `quantised`:
            whether it never touches the base's weights, or PEFT has its layers for those of 8 and 4 bits, and `packs`:
            whether its runs can share passes through the base (harness/training/fused).
    """

    name: str
    space: Mapping[str, Any] = field(default_factory=dict)
    ignores: Sequence[str] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier on L2-normalised features x: logits = weight @ x + bias.

    Attributes:
        weight: (C, d).
        bias: (C,).
    """

    weight: npt.NDArray[np.floating[Any]]
    bias: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NeighbourHead:
    """A vote of the nearest training rows, by cosine similarity.

    Attributes:
        bank: (n, d), L2-normalised features of the training rows.
        labels: (n,) class indices.
        classes: number of classes C.
        k: rows that vote.
        temperature: a row's vote weighs exp(similarity / temperature).
    """

    bank: Features
    labels: Labels
    classes: int
    k: int
    temperature: float


Head = LinearHead | NeighbourHead


class ClosedForm(Method):
    """A method that fits a head on frozen features and trains nothing else.

    Attributes:
        reads_rows: whether `fit` looks at the training rows; one that does not is not charged for their features.
    """

    reads_rows: ClassVar[bool] = True

    @abstractmethod
    def fit(self, features: Features, labels: Labels, descriptions: Features) -> Head:
        """Fit the head.

        Args:
            features: (n, d), L2-normalised, of the training rows; unspecified without `reads_rows`.
            labels: (n,) class indices, each of the C classes at least once.
            descriptions: (C, d), L2-normalised, of the classes' descriptions.
        """


class GradientTrained(Method):
    """A method that chooses which parameters of a classifier the training loop changes."""

    @abstractmethod
    def adapt(self, classifier: Classifier, model: PretrainedModel, total_steps: int) -> Hooks:
        """Freeze and unfreeze parameters, and wrap layers, in place; the head always trains.

        Args:
            classifier: a fresh copy that the run owns.
            model: the backbone's configuration.
            total_steps: optimizer steps that the schedule spans.

        Raises:
            HarnessError: the method cannot adapt this backbone with its settings.
        """

    def initialise(self, classifier: Classifier, batches: Iterable[Batch]) -> None:
        """Set what begins from the data, once, before the first step; by default nothing does.

        Args:
            classifier: adapted, on its device.
            batches: of the training rows, in the order of their lengths; read as far as is needed.
        """


class Hooks:
    """What a method asks of the training loop, and how its result is stored. These defaults ask nothing."""

    def rate_factor(self, name: str) -> float:
        """Give the share of `train.lr` that a parameter of the trunk, by its name in the classifier, learns at."""
        return 1.0

    def cut(self) -> Collection[str]:
        """Names of parameters whose zeros are final: what was cut off, an average must not bring back."""
        return ()

    def loss(
        self, classifier: Classifier, rows: Labels, batch: Callable[[Labels], Batch], labels: Labels
    ) -> Tensor | None:
        """Give a batch's loss, a mean over its rows; None leaves it to cross-entropy of the logits.

        Args:
            classifier: in training mode.
            rows: (b,) indices of the batch's training rows.
            batch: makes the inputs of any training rows.
            labels: (n,) class indices of all training rows.
        """
        return None

    def before_update(self, step: int) -> None:
        """Run when the gradients of step `step` (from 0) are complete, before they are clipped and used."""

    def end_epoch(self, classifier: Classifier, features: Callable[[], Features], labels: Labels) -> None:
        """Run after the last step of an epoch, before the model is judged.

        Args:
            classifier: in training mode.
            features: computes (n, d), L2-normalised, of the training rows as the model is now.
            labels: (n,) their class indices.
        """

    def after_step(self, step: int) -> None:
        """Run after the optimizer's step number `step` (from 0), while the gradients are still there."""

    def penalty(self) -> Tensor | None:
        """A differentiable scalar to add to the loss of every step; None adds none."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint must hold besides the trainable parameters and the optimizer."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""

    def inserted(self) -> dict[str, Any]:
        """Describe layers put into the backbone, for `harness.methods.bottleneck_adapters.insert`; none by default."""
        return {}

    def save(self, classifier: Classifier, directory: Path) -> bool:
        """Write the adapted backbone in the method's own format; False leaves it to the caller (changed tensors)."""
        return False
