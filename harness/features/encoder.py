"""What a process keeps between runs: loaded data, tokens, tokenizers, pretrained backbones, features, probes.

Every store is keyed by content digests, except loaded data: its file may change, and `Warm.data` says how that is seen.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.cache.disk_cache import Cache
from harness.cache.feature_files import FeatureKey, StatesKey, cached_features, cached_states
from harness.cache.shared_array import ArrayJob, SharedArray, Values
from harness.data.dataset import Split, TextData
from harness.data.examples import Examples, Rows, by_length
from harness.data.tokenization import Tokens, tokenise
from harness.features.worker_state import WORKER_STATE
from harness.methods.base import LinearHead
from harness.methods.closed_form.linear_probe import logistic_regression
from harness.models import PretrainedModel, ResolvedModel
from harness.models.classifier import Classifier, load_backbone, load_tokenizer
from harness.models.frozen_prefix import FrozenPrefix
from harness.models.inference import autocast
from harness.models.input_limits import check_ids, longest_input
from harness.models.pooling import width


@dataclass(frozen=True)
class FrozenEncoder:
    """One pretrained model on one data set, with everything about it that can be shared between runs.

    Attributes:
        model, resolved: which model.
        data: which data.
        max_length: tokens a row that the task allows.
        device: where networks compute.
        precision: fp32 | bf16.
        batch_size: rows a batch when nothing is trained.
        cache: where tokens and features are kept.
    """

    model: PretrainedModel
    resolved: ResolvedModel
    data: TextData
    max_length: int
    device: torch.device
    precision: str
    batch_size: int
    cache: Cache

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return WORKER_STATE.tokenizers.get(self.resolved.digest, lambda: load_tokenizer(self.resolved))

    @property
    def backbone(self) -> nn.Module:
        """The pretrained backbone, shared: nobody may change it."""
        classes = len(self.data.labels) if self.model.pooling == "model" else 0
        key = (self.resolved.digest, self.model.pooling == "model", classes)
        return WORKER_STATE.backbones.get(key, lambda: load_backbone(self.resolved, self.model.pooling, classes))

    @property
    def length(self) -> int:
        """Tokens a row: what the task allows and the model takes."""
        return min(
            self.max_length, self.model.max_tokens or self.max_length, longest_input(self.backbone, self.tokenizer)
        )

    def _tokenise(self, split: Split) -> Tokens:
        found = tokenise(split, self.data.fingerprint, self.tokenizer, self.resolved.digest, self.length, self.cache)
        check_ids(found.ids, self.backbone, self.tokenizer, f"model={self.model.name}")
        return found

    def classifier(self) -> Classifier:
        """Make a classifier on a copy of the backbone, for a run to change."""
        # Both lie where they compute, whether or not features had to be computed before: runs that share passes read
        # the frozen tensors of the one, and what a method draws on the device does not depend on what was cached.
        return Classifier(copy.deepcopy(self.backbone.to(self.device)), self.model.pooling, len(self.data.labels))

    def examples(self, split: Split) -> Examples:
        """Tokenise a split."""
        key = (self.data.fingerprint, split.name, split.augmentation, self.resolved.digest, self.length)
        tokens: Tokens = WORKER_STATE.tokens.get(key, lambda: self._tokenise(split))
        return Examples(tokens, split.labels, self.tokenizer.pad_token_id or 0)

    def features(self, split: Split) -> SharedArray:
        """Frozen features of a split, (n, d)."""
        examples = self.examples(split)
        key = FeatureKey(examples.digest(), self.resolved.digest, self.model.pooling, self.precision)

        def make() -> SharedArray:
            frozen = Classifier(self.backbone, self.model.pooling, len(self.data.labels)).eval()

            def compute(rows: Rows) -> Values:
                frozen.to(self.device)
                with torch.no_grad(), autocast(self.device, self.precision):
                    values: Values = frozen.features(examples.batch(rows, self.device)).float().cpu().numpy()
                return values

            parts = by_length(examples.tokens.lengths, self.batch_size)
            work = ArrayJob(np.arange(len(split) + 1), width(self.backbone), parts, compute)
            return cached_features(key, self.cache, work)

        return WORKER_STATE.features.get(key, make)

    def inputs(self, split: Split, boundary: FrozenPrefix) -> tuple[Examples, float]:
        """A split's examples, with their states where passes can begin at a boundary; and what computing those took.

        Args:
            split: the rows.
            boundary: in the backbone that will read them, on its device.
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

    def probe(self, split: Split, inverse_strength: float) -> LinearHead:
        """Logistic regression on a split's frozen features."""
        key = (self.data.fingerprint, split.name, split.augmentation, self.resolved.digest, self.model.pooling)
        return WORKER_STATE.probes.get(
            (*key, self.length, self.precision, inverse_strength),
            lambda: logistic_regression(self.features(split).values, split.labels, inverse_strength),
        )
