"""The interfaces of methods: a formula on frozen features, or parameters that the training loop trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from harness.api.heads import Head
from harness.api.metric import Targets
from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.data.examples import Batch
    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel
    from harness.tasks.runtime import TaskRuntime

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Method(ABC):
    """A way to adapt a backbone (conf/method).

    Attributes:
        name: the file's name in conf/method.
        space: search space of tuning, {override key: Hydra sweep string, or {sweep, when} for a conditional one}; read
            by the coordinator.
        ignores: sections of the configuration without effect on this method, such as `train`: they are neither tuned
            nor part of a run's signature.
        resources: minimum resources of a job, such as {mem_gb: 16}; combined with the model's and the cluster
            profile's.
        about: facts for docs/methods.md: title, paper, trains, limits, `parameters` (a formula), `tasks` (the task
            families that it is for; all, if it does not say), `inputs` (text, image or sound, likewise), `quantized`
            (whether it neither reads nor changes the base weights, or PEFT has layers for 8 and 4 bits), and `fusable`
            (whether its runs can share passes through the base, see harness/training/fused).
    """

    name: str
    space: Mapping[str, Any] = field(default_factory=dict)
    ignores: Sequence[str] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


class ClosedForm(Method):
    """A method that fits a head on frozen features by a formula and trains nothing else.

    Attributes:
        reads_rows: whether `fit` uses the training rows; if not, their features are not charged to the run.
    """

    reads_rows: ClassVar[bool] = True

    @abstractmethod
    def fit(self, features: Features, labels: Labels, descriptions: Features) -> Head:
        """Fit the head.

        Args:
            features: (n, d), L2-normalized, of the training rows; unspecified without `reads_rows`.
            labels: (n,) class indices; each of the C classes occurs.
            descriptions: (C, d), L2-normalized, of the classes' descriptions.
        """

    def fit_task(self, task: TaskRuntime, features: Features, targets: Targets, descriptions: Features) -> Head:
        """Fit the head for a task of any family; by default `fit`, which is for classes.

        Args:
            task: of the family.
            features: (n, d), L2-normalized, of the training rows; unspecified without `reads_rows`.
            targets: (n,) theirs.
            descriptions: (m, d), L2-normalized, of what describes the m outputs; (m, 0) if nothing does.
        """
        return self.fit(features, targets, descriptions)


class Prompted(Method):
    """A method for models that write texts: nothing is trained, and prompts may hold training rows as examples.

    Attributes:
        shots: training rows in every prompt, drawn by the run's seed.
    """

    shots: int = 0


class Recommender(Method):
    """A method that fits a scorer of items to histories by a formula."""

    @abstractmethod
    def fit(self, histories: Sequence[Labels], items: int) -> nn.Module:
        """Fit a scorer, one of `harness.models.recommenders.scorers`.

        Args:
            histories: n arrays of item indices, the earliest first.
            items: number of items I.

        Raises:
            HarnessError: there are too many items for the method.
        """


class Retriever(Method):
    """A method that indexes a collection of passages and trains nothing."""

    @abstractmethod
    def index(self, passages: Sequence[str], vectors: Callable[[], Features]) -> nn.Module:
        """Make the index, one of `harness.models.retrieval.indexes`.

        Args:
            passages: P texts.
            vectors: computes (P, d), L2-normalized, of the passages by the pretrained model.
        """


@dataclass(kw_only=True)
class GradientTrained(Method):
    """A method that selects which parameters of a network the training loop trains.

    Attributes:
        alpha: the model that is evaluated and saved lies between the pretrained one (0) and the trained one (1, the
            default); see `harness.training.interpolation`.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check alpha; subclasses with fields of their own call this first."""
        if not 0 < self.alpha <= 1:
            raise HarnessError(
                f"method.alpha={self.alpha} must lie above 0 (the pretrained model) and at most at 1 (the trained one)."
            )

    @abstractmethod
    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Freeze and unfreeze parameters, and wrap layers, in place; the head is always trained.

        Args:
            network: a fresh copy owned by the run.
            model: the backbone's configuration.
            total_steps: optimizer steps of the schedule.

        Raises:
            HarnessError: the method cannot adapt this backbone with its settings.
        """

    def initialize(self, network: AdaptedModel, batches: Iterable[Batch]) -> None:
        """Initialize from the data, once, before the first step; does nothing by default.

        Args:
            network: adapted, on its device.
            batches: of the training rows, in order of length; read as far as needed.
        """


class Hooks:
    """A method's callbacks in the training loop, and how its result is stored. The defaults do nothing.

    Where several devices train a run, each has hooks of its own, which must decide alike: from weights, and from
    gradients, which are equal on all from `before_update` on.
    """

    def rate_factor(self, name: str) -> float:
        """Return the fraction of `train.lr` for a parameter outside the head, by its name in the network."""
        return 1.0

    def unadapted(self, name: str, value: Tensor) -> Tensor | None:
        """Return the value of a trained parameter outside the head with which the model is the pretrained one.

        Args:
            name: of the parameter in the network.
            value: its initial one.

        Returns:
            The value, by default a copy of the initial one; None for a parameter that may have any value there, such
            as the first of LoRA's two factors.
        """
        return value.clone()

    def cut(self) -> Collection[str]:
        """Return the names of parameters whose zeros are final: a weight average must not restore pruned values."""
        return ()

    def loss(
        self, network: AdaptedModel, rows: Labels, batch: Callable[[Labels], Batch], labels: Labels
    ) -> Tensor | None:
        """Return a batch's loss, a mean over its rows; None selects the loss of the task's family.

        Args:
            network: in training mode.
            rows: (b,) indices of the batch's training rows, or of those of this device.
            batch: makes the inputs of any training rows.
            labels: (n,) targets of all training rows, such as class indices.
        """
        return None

    def before_update(self, step: int) -> None:
        """Run when the gradients of step `step` (from 0) are complete, before clipping and the update."""

    def end_epoch(self, network: AdaptedModel, features: Callable[[], Features], labels: Labels) -> None:
        """Run after the last step of an epoch, before the model is evaluated.

        Args:
            network: in training mode.
            features: computes (n, d), L2-normalized, of the training rows in the current model.
            labels: (n,) their targets.
        """

    def after_step(self, step: int) -> None:
        """Run after optimizer step `step` (from 0), before the gradients are cleared."""

    def penalty(self) -> Tensor | None:
        """Return a differentiable scalar to add to each step's loss; None adds none."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Return tensors that a checkpoint must hold besides the trainable parameters and the optimizer."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""

    def inserted(self) -> dict[str, Any]:
        """Describe inserted layers for `harness.methods.bottleneck_adapters.insert`; none by default."""
        return {}

    def save(self, network: AdaptedModel, directory: Path) -> bool:
        """Write the backbone in the method's own format, or return False: the caller then writes changed tensors."""
        return False
