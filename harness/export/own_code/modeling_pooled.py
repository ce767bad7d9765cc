"""A transformers model with a head on a pooled vector: what `AutoModelForSequenceClassification` loads from here.

    from transformers import pipeline
    classify = pipeline("text-classification", "<this folder>", trust_remote_code=True)

Logits are head(20 x v), where v is the L2-normalized pooled vector of the last hidden states: their mean over the
tokens, the first, or the last token, as `pooling` in config.json says. The head is linear (W v + b), or, with `voters`,
the votes of the k nearest stored vectors. This file needs torch and transformers only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

ENCODER_DECODERS = ("t5", "mt5", "umt5")  # of these, the encoder alone is used


class PooledConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers gives it no types
    """Settings: `backbone` (a configuration of transformers), `pooling`, `scale`, `voters` (null: a linear head)."""

    model_type = "pooled_classifier"

    def __init__(
        self, backbone: dict[str, Any] | None = None, pooling: str = "mean", scale: float = 20.0,
        voters: dict[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.backbone, self.pooling, self.scale, self.voters = backbone or {}, pooling, scale, voters
        super().__init__(**more)


class Voters(nn.Module):
    """The k nearest of n stored vectors vote, each with weight exp(cosine / temperature): log fractions of the vote."""

    def __init__(self, size: int, classes: int, rows: int, k: int, temperature: float) -> None:
        super().__init__()
        self.k, self.temperature, self.classes = k, temperature, classes
        self.bank = nn.Parameter(torch.zeros(rows, size), requires_grad=False)
        self.labels = nn.Parameter(torch.zeros(rows, dtype=torch.int64), requires_grad=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (n, C) of normalized vectors (n, d)."""
        nearest = (vectors @ self.bank.T).topk(self.k, dim=-1)
        weights = (nearest.values / self.temperature).softmax(dim=-1)
        votes = weights.new_zeros(len(vectors), self.classes)
        votes.scatter_add_(1, self.labels[nearest.indices], weights)
        return votes.clamp(min=1e-6).log()


class PooledClassifier(PreTrainedModel):  # type: ignore[no-untyped-call]  # likewise
    """The model; `logits` are (n, C)."""

    config_class = PooledConfig
    base_model_prefix = "backbone"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        stored = dict(config.backbone)
        inner = AutoConfig.for_model(stored.pop("model_type"), **stored)
        kind: Any = AutoModelForTextEncoding if inner.model_type in ENCODER_DECODERS else AutoModel
        try:
            self.backbone = kind.from_config(inner, add_pooling_layer=False)
        except TypeError:  # not every architecture has the option
            self.backbone = kind.from_config(inner)
        size = next(getattr(inner, name) for name in ("hidden_size", "dim", "d_model") if hasattr(inner, name))
        voters = config.voters
        self.head: nn.Module = (
            Voters(size, config.num_labels, **voters) if voters else nn.Linear(size, config.num_labels)
        )
        self.post_init()  # type: ignore[no-untyped-call]  # likewise

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None,
        labels: Tensor | None = None, **unused: Any,
    ) -> SequenceClassifierOutput:  # fmt: skip
        """Return logits, and the loss where labels are given."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        hidden = self.backbone(**inputs).last_hidden_state.float()
        vectors = functional.normalize(self.pooled(hidden, attention_mask), dim=-1)
        logits = self.head(vectors if self.config.voters else self.config.scale * vectors)
        if labels is None:
            return SequenceClassifierOutput(logits=logits)
        if self.config.num_labels == 1:
            loss = functional.mse_loss(logits[:, 0], labels.float())
        else:
            loss = functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool token vectors (n, length, d) under a mask (n, length) into (n, d); padding may be on either side."""
        rows = torch.arange(len(hidden), device=hidden.device)
        if self.config.pooling == "cls":
            return hidden[rows, mask.argmax(dim=1)]
        if self.config.pooling == "last":
            return hidden[rows, mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
