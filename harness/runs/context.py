"""The context and the result of one run; `closed_form` and `gradient` compute it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.api.metric import Metric, Predictions, Values, score
from harness.augment import Augmentation, AugmentationContext, augmented
from harness.cache.disk_cache import Cache
from harness.config.instantiate import build
from harness.config.schema import Config, TrainConfig
from harness.data.dataset import Dataset, Split
from harness.errors import HarnessError
from harness.features.encoder import FrozenEncoder
from harness.features.worker_state import WORKER_STATE
from harness.methods import Hooks
from harness.models.network import AdaptedModel
from harness.records.run_spec import RunSpec
from harness.records.signature import digest, models_digest, signature
from harness.system.machine import check_device
from harness.tasks.runtime import TaskRuntime


class Stopped(Exception):
    """A run stopped before it was complete.

    Attributes:
        status: pruned | paused (at its limit) | stopped (checkpointed, to resume later) | taken (over by another
            process).
    """

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class RunResult:
    """The results of a run so far; a failed or pruned run has some of them.

    Attributes:
        metrics: `val` and `test`.
        cost: seconds per phase and the other costs of a record.
        data: facts about the data.
        provenance: which model was used.
        predictions: {validation, test: (split, predictions)}.
        network, hooks: the adapted model.
    """

    metrics: dict[str, Values] = field(default_factory=lambda: {"val": {}, "test": {}})
    cost: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, tuple[Split, Predictions]] = field(default_factory=dict)
    network: AdaptedModel | None = None
    hooks: Hooks = field(default_factory=Hooks)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's seconds to the cost `<name>_seconds`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(f"{name}_seconds", time.perf_counter() - start)

    def add(self, name: str, amount: float) -> None:
        """Add to a cost."""
        self.cost[name] = self.cost.get(name, 0) + amount


@dataclass
class RunContext:
    """What one run works with.

    Attributes:
        spec: the run.
        say: called with the lines that a run prints.
        stop: checked after every step: returns "prune", "checkpoint", "taken" or None.
        interrupted: checked after every step; True checkpoints the run.
        result: filled while the run executes.
        train: settings of the training loop.
        device: where networks compute.
        data, encoder: see `load`.
    """

    spec: RunSpec
    say: Callable[[str], None]
    stop: Callable[[], str | None]
    interrupted: Callable[[], bool]
    result: RunResult
    train: TrainConfig
    device: torch.device
    data: Dataset
    encoder: FrozenEncoder

    @classmethod
    def load(
        cls,
        spec: RunSpec,
        result: RunResult,
        say: Callable[[str], None],
        stop: Callable[[], str | None],
        interrupted: Callable[[], bool],
    ) -> RunContext:
        """Load device, data and model.

        Raises:
            HarnessError: one of them is not available, or has changed since the run was planned.
        """
        config = spec.config
        device = torch.device(check_device(config["device"]))
        train = TrainConfig(**config["train"])
        cache_dir = Path(config["cache_dir"]).expanduser()
        with result.phase("data"):
            model = build(config["model"], config["packages"])
            resolved = model.resolve(cache_dir)
            augmentations = _augmentations(config)
            others = [each for part in augmentations.values() for each in part.ready(cache_dir)]
            models = models_digest(resolved.digest, others)
            for fresh in (False, True):
                data = WORKER_STATE.data(config["task"], config["packages"], fresh)
                # A worker may hold an older version of a file in memory; the signature shows that.
                if signature(config, spec.phase, data.fingerprint, models) == spec.signature:
                    break
            else:
                raise HarnessError(
                    f"The data of task={config['task']['name']} or the files of model={model.name} are not what they "
                    "were when this run was planned. Start the command again: it plans anew."
                )
        length = config["task"]["max_length"]
        cache = Cache(cache_dir, config.get("cache_gb", Config.cache_gb))
        encoder = FrozenEncoder(model, resolved, data, length, device, train.precision, train.eval_batch_size, cache)
        context = cls(spec, say, stop, interrupted, result, train, device, data, encoder)
        with result.phase("model"):
            length = encoder.length  # loads backbone and tokenizer
        if augmentations:
            with result.phase("augment"):
                data, copied = _augment(augmentations, context)
            encoder = replace(encoder, data=data)
            context = replace(context, data=data, encoder=encoder)
        with result.phase("data"):
            truncated = {split.name: encoder.examples(split).tokens.truncated for split in context.splits()}
        if any(truncated.values()):
            counts = ", ".join(f"{count} {name}" for name, count in truncated.items() if count)
            say(f"Note: texts longer than {length} tokens were cut: {counts}. To keep more: task.max_length.")
        result.data = data.facts | {
            "fingerprint": data.fingerprint,
            "warnings": list(data.warnings),
            "truncated": truncated,
            "max_length": length,
            "family": data.family,
        }
        if augmentations:
            result.data["augmented"] = copied
        result.provenance = {"model_digest": resolved.digest, "model_source": resolved.source}
        return context

    @property
    def task(self) -> TaskRuntime:
        """The family of the task."""
        return self.encoder.task

    @property
    def metric(self) -> Metric:
        """The task's metric, which selects."""
        return self.task.metrics[self.spec.config["task"]["metric"]]

    @property
    def tests(self) -> bool:
        """True if this run evaluates on the test split; tuning never does."""
        return self.spec.phase != "tune"

    @property
    def by_folds(self) -> bool:
        """True if this run is cross-validated. A confirmation trains on all rows, for the epochs found by folds."""
        return bool(self.data.folds) and self.spec.phase != "confirm"

    def splits(self) -> list[Split]:
        """Return the splits that this run reads."""
        folds = [split for pair in self.data.folds for split in pair] if self.by_folds else []
        whole = [self.data.train, self.data.validation, self.data.test if self.tests else None]
        return folds + [split for split in whole if split is not None]

    def evaluated(self) -> dict[str, Split]:
        """Return the splits on which this run's final model is evaluated."""
        candidates = {"validation": self.data.validation, "test": self.data.test if self.tests else None}
        return {name: split for name, split in candidates.items() if split is not None}

    def evaluate(self, predict: Callable[[Split], Predictions]) -> None:
        """Predict, evaluate and print the splits of `evaluated`."""
        for name, split in self.evaluated().items():
            with self.result.phase("evaluate"):
                predicted = predict(split)
                values = self.task.evaluate(split.targets, predicted)
            if values["loss"] is None:
                raise HarnessError(f"the predictions of the {name} rows are not finite.")
            self.result.predictions[name] = (split, predicted)
            self.result.metrics["val" if name == "validation" else "test"] = values
            shown = "dev" if name == "validation" else "test"
            self.say(f"{shown.capitalize()} loss: {values['loss']:.3f}, {score(self.metric, values, shown)}")


def _augmentations(config: dict[str, Any]) -> dict[str, Augmentation]:
    """Build the configured augmentations; none if the method ignores them."""
    nodes = {} if "augment" in (config["method"].get("ignores") or ()) else config.get("augment") or {}
    return {name: build(node, config["packages"]) for name, node in nodes.items()}


def _augment(augmentations: dict[str, Augmentation], context: RunContext) -> tuple[Dataset, dict[str, Any]]:
    """Return the data with augmented training rows, those of the folds in use included, and counts of the copies."""
    seed, data, encoder = context.spec.config["seed"], context.data, context.encoder

    def charge(seconds: float) -> None:
        context.result.add("augment_seconds", seconds)

    def embed(texts: list[str]) -> npt.NDArray[np.float32]:
        if encoder.model.pooling == "model":
            raise HarnessError(
                f"augment={','.join(augmentations)} compares words by pooled vectors, and model.pooling=model gives "
                "none. Set model.pooling to mean, cls or last, or augment=noise."
            )
        nobody = np.zeros(len(texts), dtype=np.int64)
        words = Split("words", texts, None, nobody, nobody, digest(texts))
        started = time.perf_counter()
        features = encoder.features(words)
        charge(features.seconds - (time.perf_counter() - started))
        return features.values

    around = AugmentationContext(embed, encoder.device.type, encoder.cache.directory, context.say, charge)
    train, facts = augmented(data.train, augmentations, seed, around)
    context.say(f"Augmented: {len(data.train)} training rows and {len(train) - len(data.train)} copies.")
    used = data.folds if context.by_folds else ()
    folds = tuple((augmented(rest, augmentations, seed, around)[0], held_out) for rest, held_out in used)
    return replace(data, train=train, folds=folds), facts


def mean_values(folds: list[Values]) -> Values:
    """Average metrics over folds; a metric is None if any fold has no value."""
    columns = {name: [fold[name] for fold in folds] for name in folds[0]}
    return {
        name: None if any(value is None for value in values) else float(np.mean([v for v in values if v is not None]))
        for name, values in columns.items()
    }
