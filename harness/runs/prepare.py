"""The inputs of a run: device, data, model and caches, made once and then only read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.api.family import families
from harness.api.metric import Metric
from harness.augment import Augmentation, AugmentationContext, augmented
from harness.augment.distillation import folded_texts
from harness.augment.images import ImageTransform
from harness.cache.disk_cache import Cache
from harness.config.instantiate import build
from harness.config.schema import Config, TrainConfig
from harness.data.dataset import Dataset, Split
from harness.errors import HarnessError
from harness.features.encoder import FrozenEncoder
from harness.features.worker_state import WORKER_STATE
from harness.models.start.find import find_start
from harness.records.run_spec import RunSpec
from harness.records.signature import digest, models_digest, signature
from harness.records.states import Phase, StopRequest
from harness.runs.costs import Costs
from harness.serving.start_weights import started
from harness.serving.teaching import teach
from harness.system.machine import check_device
from harness.tasks.runtime import TaskRuntime


@dataclass(frozen=True)
class PreparedRun:
    """What one run works with; nothing in it changes while the run executes.

    Attributes:
        spec: the run.
        say: called with the lines that a run prints.
        stop: checked after every step: returns how the run is asked to end, or None.
        train: settings of the training loop.
        device: where networks compute.
        data: the data set, with augmented training rows if there are any.
        encoder: the frozen backbone on it.
        facts: about the data, for the record.
        provenance: which model is used, for the record.
        costs: of the preparation.
        transforms: random transforms of training images (`harness.augment.images`).
    """

    spec: RunSpec
    say: Callable[[str], None]
    stop: Callable[[], StopRequest | None]
    train: TrainConfig
    device: torch.device
    data: Dataset
    encoder: FrozenEncoder
    facts: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    transforms: tuple[ImageTransform, ...] = ()

    @classmethod
    def load(cls, spec: RunSpec, say: Callable[[str], None], stop: Callable[[], StopRequest | None]) -> PreparedRun:
        """Load device, data and model.

        Raises:
            HarnessError: one of them is not available, or has changed since the run was planned.
        """
        config, costs = spec.config, Costs()
        device = torch.device(check_device(config["device"]))
        train = TrainConfig(**config["train"])
        cache_dir = Path(config["cache_dir"]).expanduser()
        with costs.phase("data"):
            model = build(config["model"], config["packages"])
            family = WORKER_STATE.data(config["task"], config["packages"], False).family
            model = model.for_family(families()[family])  # on which its digest depends
            resolved, start = model.resolve(cache_dir), None
            pretrained = resolved
            if train.init is not None:
                start = find_start(
                    train.init, Path(config.get("runs_dir", Config.runs_dir)), pretrained, model.name, cache_dir
                )
                resolved = start.on(pretrained)
            augmentations, transforms = _augmentations(config)
            others = [each for part in augmentations.values() for each in part.ready(cache_dir)]
            data = _data(spec, models_digest(resolved.digest, others), model.name)
        if start is not None:
            with costs.phase("model"):
                resolved = started(start, pretrained, cache_dir)
        limit = config["task"].get("max_length", 1)  # in tokens; tasks on images have none
        cache = Cache(cache_dir, config.get("cache_gb", Config.cache_gb))
        encoder = FrozenEncoder(model, resolved, data, limit, device, train.precision, train.eval_batch_size, cache)
        with costs.phase("model"):
            length = encoder.length  # loads backbone and tokenizer
        provenance: dict[str, Any] = {"model_digest": resolved.digest, "model_source": resolved.source}
        if "train" not in (config["method"].get("ignores") or ()):
            lanes = train.dropout_masks == "lanes" and device.type == "cpu"
            provenance["numerics"] = {
                "dropout_masks": "lanes" if lanes else "native", "precision": train.precision,
            }  # fmt: skip
        if start is not None:
            provenance["init_digest"] = start.digest
        run = cls(
            spec, say, stop, train, device, data, encoder, provenance=provenance, costs=costs, transforms=transforms
        )
        copied: dict[str, Any] = {}
        if augmentations:
            with costs.phase("augment"):
                data, facts, read = _augment(augmentations, run)
            costs.add("augment_seconds", read)
            copied = {"augmented": facts}
            run = replace(run, data=data, encoder=replace(encoder, data=data))
        with costs.phase("data"):
            examples = {split.name: run.encoder.examples(split) for split in run.splits()}
            truncated = {name: each.tokens.truncated for name, each in examples.items()}
            notes = [line for split in run.splits() for line in run.task.notes(examples[split.name], split)]
        for line in notes:
            say(f"Note: {line}")
        if any(truncated.values()):
            counts = ", ".join(f"{count} {name}" for name, count in truncated.items() if count)
            say(f"Note: texts longer than {length} tokens were cut: {counts}. To keep more: task.max_length.")
        facts = data.facts | {
            "fingerprint": data.fingerprint,
            "warnings": list(data.warnings),
            "truncated": truncated,
            "max_length": length,
            "family": data.family,
        }
        return replace(run, facts=facts | copied)

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
        """True if this run evaluates on the test split; what chooses a configuration never does."""
        return self.spec.phase not in (Phase.TUNE, Phase.RERANK)

    @property
    def by_folds(self) -> bool:
        """True if this run is cross-validated. A confirmation trains on all rows, for the epochs found by folds."""
        return bool(self.data.folds) and self.spec.phase != Phase.CONFIRM

    @property
    def whole(self) -> bool:
        """True if this run trains on all training rows; one that only tunes by folds does not."""
        return bool(self.evaluated()) or not self.by_folds

    def splits(self) -> list[Split]:
        """Return the splits that this run reads."""
        folds = [split for pair in self.data.folds for split in pair] if self.by_folds else []
        whole = [self.data.train, self.data.validation, self.data.test if self.tests else None]
        return folds + [split for split in whole if split is not None]

    def evaluated(self) -> dict[str, Split]:
        """Return the splits on which this run's final model is evaluated."""
        candidates = {"validation": self.data.validation, "test": self.data.test if self.tests else None}
        return {name: split for name, split in candidates.items() if split is not None}


def _data(spec: RunSpec, models: str, model: str) -> Dataset:
    """Load the data of a run, and check that it is still what the run was planned with."""
    config = spec.config
    for fresh in (False, True):
        data = WORKER_STATE.data(config["task"], config["packages"], fresh)
        # A worker may hold an older version of a file in memory; the signature shows that.
        if signature(config, spec.phase, data.fingerprint, models) == spec.signature:
            return data
    raise HarnessError(
        f"The data of task={config['task']['name']} or the files of model={model} have changed since this run was "
        "planned. Start the command again."
    )


def _augmentations(config: dict[str, Any]) -> tuple[dict[str, Augmentation], tuple[ImageTransform, ...]]:
    """Build the configured augmentations, by copies and by transforms; none if the method ignores them."""
    nodes = {} if "augment" in (config["method"].get("ignores") or ()) else config.get("augment") or {}
    built = {name: build(node, config["packages"]) for name, node in nodes.items()}
    transforms = tuple(each for each in built.values() if isinstance(each, ImageTransform))
    return {name: each for name, each in built.items() if not isinstance(each, ImageTransform)}, transforms


def _augment(augmentations: dict[str, Augmentation], run: PreparedRun) -> tuple[Dataset, dict[str, Any], float]:
    """Augment training rows, those of the folds in use included.

    Returns:
        The data; counts of the copies; the seconds that results read from caches had taken when they were computed.
    """
    seed, data, encoder = run.spec.config["seed"], run.data, run.encoder
    read: list[float] = []

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
        read.append(features.seconds - (time.perf_counter() - started))
        return features.values

    def predicted(directory: Path, identity: str, texts: list[str]) -> npt.NDArray[np.float32]:
        return teach(directory, identity, texts, encoder.cache.directory, encoder.device.type, run.say, read.append)

    evaluated = [split for split in (data.validation, data.test) if split is not None]
    around = AugmentationContext(
        embed, encoder.device.type, encoder.cache.directory, run.say, read.append,
        tuple(getattr(data, "labels", ())), folded_texts(evaluated), predicted,
    )  # fmt: skip
    train, facts = augmented(data.train, augmentations, seed, around)
    run.say(f"Augmented: {len(data.train)} training rows and {len(train) - len(data.train)} copies.")
    used = data.folds if run.by_folds else ()
    folds = tuple(
        (
            augmented(rest, augmentations, seed, replace(around, held=around.held | folded_texts([held_out])))[0],
            held_out,
        )
        for rest, held_out in used
    )
    return replace(data, train=train, folds=folds), facts, sum(read)
