"""A transformers model that tags tokens: what `AutoModelForTokenClassification` loads from here.

    from transformers import pipeline
    find = pipeline("token-classification", "<this folder>", trust_remote_code=True, aggregation_strategy="first")

Logits of a token are W (20 x v) + b, where v is its L2-normalized last hidden state. This file needs torch and
transformers only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

ENCODER_DECODERS = ("t5", "mt5", "umt5")  # of these, the encoder alone is used


class TaggerConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers gives it no types
    """Settings: `backbone` (a configuration of transformers), `options` to build it with, `scale`."""

    model_type = "tagger"

    def __init__(
        self, backbone: dict[str, Any] | None = None, options: dict[str, Any] | None = None, scale: float = 20.0,
        **more: Any,
    ) -> None:  # fmt: skip
        self.backbone, self.options, self.scale = backbone or {}, options or {}, scale
        super().__init__(**more)


class Tagger(PreTrainedModel):  # type: ignore[no-untyped-call]  # likewise
    """The model; `logits` are (n, length, C)."""

    config_class = TaggerConfig
    base_model_prefix = "backbone"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        stored = dict(config.backbone)
        inner = AutoConfig.for_model(stored.pop("model_type"), **stored)
        kind: Any = AutoModelForTextEncoding if inner.model_type in ENCODER_DECODERS else AutoModel
        self.backbone = kind.from_config(inner, **config.options)
        size = next(getattr(inner, name) for name in ("hidden_size", "dim", "d_model") if hasattr(inner, name))
        self.head = nn.Linear(size, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # likewise

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **unused: Any
    ) -> TokenClassifierOutput:
        """Return logits, and the loss where labels are given (-100: none)."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        logits = self.head(self.config.scale * functional.normalize(hidden, dim=-1))
        if labels is None:
            return TokenClassifierOutput(logits=logits)
        loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        return TokenClassifierOutput(loss=loss, logits=logits)
