"""Inputs and features from a frozen backbone, cached between the runs of a process."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.api.heads import LinearHead
from harness.cache.disk_cache import Cache
from harness.cache.feature_files import FeatureKey, StatesKey, cached_features, cached_states
from harness.cache.shared_array import ArrayJob, SharedArray, Values
from harness.data.dataset import Dataset, Split
from harness.data.examples import Examples, Rows, by_length
from harness.data.tokenization import Encoding, Tokens, tokenize
from harness.features.worker_state import WORKER_STATE
from harness.models import PretrainedModel, ResolvedModel
from harness.models.frozen_prefix import FrozenPrefix
from harness.models.image_files.image_architectures import BOXES
from harness.models.inference import autocast
from harness.models.input_limits import check_ids, longest_input
from harness.models.network import AdaptedModel, load_backbone, load_tokenizer
from harness.models.pooling import width
from harness.models.pretrained import OWN_HEADS, WIDENING
from harness.tasks.runtime import TaskRuntime, runtime_of

MAPPED = 32  # images whose maps of all blocks are held at once


@dataclass(frozen=True)
class FrozenEncoder:
    """A pretrained model on one data set, with everything that runs can share about them.

    Attributes:
        model, resolved: the model.
        data: the data set.
        max_length: limit of the task, in tokens per row.
        device: where networks compute.
        precision: fp32 | bf16.
        batch_size: rows per batch without training.
        cache: disk cache of tokens and features.
    """

    model: PretrainedModel
    resolved: ResolvedModel
    data: Dataset
    max_length: int
    device: torch.device
    precision: str
    batch_size: int
    cache: Cache

    @cached_property
    def task(self) -> TaskRuntime:
        """The family of the task."""
        return runtime_of(self.data)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return WORKER_STATE.tokenizers.get(self.resolved.digest, lambda: load_tokenizer(self.resolved))

    @property
    def backbone(self) -> nn.Module:
        """The pretrained backbone; shared, so it must not be changed."""
        own = self.model.pooling if self.model.pooling in OWN_HEADS else None
        outputs = self.data.outputs if own in ("model", BOXES) else 0
        wide = self.model.pooling if self.model.pooling in WIDENING else None  # its size is kept with the backbone
        key = (self.resolved.digest, own, outputs, self.model.layer, wide)
        return WORKER_STATE.backbones.get(key, lambda: load_backbone(self.resolved, self.model.pooling, outputs))

    @property
    def _vectors(self) -> str:
        """Which vectors of the backbone are the features: the pooling, and the block if it is not the last."""
        layer = self.model.layer
        return self.model.pooling if layer is None else f"{self.model.pooling} of block {layer}"

    @property
    def length(self) -> int:
        """Longest row in tokens: the minimum of the task's and the model's limits."""
        return min(
            self.max_length, self.model.max_tokens or self.max_length, longest_input(self.backbone, self.tokenizer)
        )

    def _tokenize(self, split: Split, own: Encoding | None) -> Tokens:
        found = tokenize(
            split, self.data.fingerprint, self.tokenizer, self.resolved.digest, self.length, self.cache, own
        )
        check_ids(found.ids, self.backbone, self.tokenizer, f"model={self.model.name}")
        return found

    def network(self) -> AdaptedModel:
        """Make a network on a copy of the backbone that a run may change."""
        # Both backbones are moved to the device, whether or not features were computed before: fused runs read the
        # frozen tensors of the shared one, and random numbers drawn on the device must not depend on what was cached.
        return self.task.network(copy.deepcopy(self.backbone.to(self.device)), self.model.pooling)

    def network_as_loaded(self) -> AdaptedModel:
        """Make a network on the shared backbone, in eval mode, which must not be changed."""
        network = self.task.network(self.backbone.to(self.device), self.model.pooling)
        return network.requires_grad_(False).eval()

    def examples(self, split: Split) -> Examples:
        """Tokenise a split, and what its rows are compared with."""
        own = self.task.encoding(self.tokenizer, self.backbone, self.length)
        key = (
            self.data.fingerprint,
            split.name,
            split.augmentation,
            self.resolved.digest,
            self.length,
            own and own.key,
        )
        tokens: Tokens = WORKER_STATE.tokens.get(key, lambda: self._tokenize(split, own))
        found = self.task.examples(tokens, split, self.tokenizer, self.backbone)
        collection = self.task.collection()
        if collection is None or collection.name == split.name:
            return found
        return self.task.compared(found, self.examples(collection))

    def features(self, split: Split) -> SharedArray:
        """Return the frozen features of a split, (n, d); of a family that predicts tokens, theirs, (total, d)."""
        examples = self.examples(split)
        key = FeatureKey(examples.digest(), self.resolved.digest, self._vectors, self.precision)

        def make() -> SharedArray:
            frozen = self.task.network(self.backbone, self.model.pooling).eval()

            def compute(rows: Rows) -> Values:
                frozen.to(self.device)
                with torch.no_grad(), autocast(self.device, self.precision):
                    values: Values = frozen.features(examples.batch(rows, self.device)).float().cpu().numpy()
                return values

            parts = by_length(examples.tokens.lengths, self.batch_size)
            work = ArrayJob(examples.output_offsets, width(self.backbone), parts, compute)
            return cached_features(key, self.cache, work)

        return WORKER_STATE.features.get(key, make)

    def inputs(self, split: Split, boundary: FrozenPrefix) -> tuple[Examples, float]:
        """Return a split's examples, and the seconds that computing their hidden states took.

        Examples have hidden states if passes can start at the boundary.

        Args:
            split: the rows.
            boundary: frozen prefix of the backbone that will read them, on its device.
        """
        examples = self.examples(split)
        states = self._states(examples, boundary) if boundary.frozen else None
        return (examples, 0.0) if states is None else (replace(examples, states=states.values), states.seconds)

    def _states(self, examples: Examples, boundary: FrozenPrefix) -> SharedArray | None:
        few = examples.batch(by_length(examples.tokens.lengths, 2)[-1], self.device)
        with autocast(self.device, self.precision):
            if not boundary.works(few):
                return None

        def compute(rows: Rows) -> Values:
            batch = examples.batch(rows, self.device)
            with torch.no_grad(), autocast(self.device, self.precision):
                states: Values = boundary.states(batch)[batch["attention_mask"].bool()].float().cpu().numpy()
            return states

        tokens, parts = examples.tokens, by_length(examples.tokens.lengths, self.batch_size)
        key = StatesKey(examples.digest(), self.resolved.digest, self.precision, boundary.frozen)
        work = ArrayJob(tokens.offsets, width(self.backbone), parts, compute)
        return WORKER_STATE.states.get(key, lambda: cached_states(key, self.cache, work))

    def maps(self, split: Split, versions: int) -> tuple[Examples, float]:
        """Return a split's examples with what the frozen backbone makes of each image, and the seconds that took.

        Without room in the cache they come without, and every pass goes through the backbone.

        Args:
            split: the rows.
            versions: number of versions of an image, such as mirrored ones (`Examples.version`).
        """
        examples = self.examples(split)
        key = FeatureKey(examples.digest(), self.resolved.digest, f"maps of {versions} versions", self.precision)

        def make() -> SharedArray | None:
            frozen = self.task.network(self.backbone.to(self.device), self.model.pooling).eval()

            def values(rows: Rows) -> torch.Tensor:
                with torch.no_grad(), autocast(self.device, self.precision):
                    made = [
                        frozen.features(examples.version(rows, self.device, version)).float()
                        for version in range(versions)
                    ]
                return torch.stack(made, dim=1)  # (rows, versions, d)

            def compute(rows: Rows) -> Values:
                found: Values = values(rows).flatten(0, 1).cpu().numpy()
                return found

            parts = by_length(examples.tokens.lengths, min(self.batch_size, MAPPED))
            offsets = np.arange(len(examples) + 1) * versions
            work = ArrayJob(offsets, values(np.arange(1)).shape[-1], parts, compute)
            return cached_states(key, self.cache, work)

        found = WORKER_STATE.states.get(key, make)
        return (examples, 0.0) if found is None else (replace(examples, states=found.values), found.seconds)

    def probe(self, split: Split, inverse_strength: float) -> LinearHead:
        """Fit the task's linear model on a split's frozen features."""
        key = (self.data.fingerprint, split.name, split.augmentation, self.resolved.digest, self._vectors)
        return WORKER_STATE.probes.get(
            (*key, self.length, self.precision, inverse_strength),
            lambda: self.task.linear_head(self.features(split).values, split.targets, inverse_strength),
        )
