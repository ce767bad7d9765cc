"""A transformers model with a head on an image's vector: what `AutoModelForImageClassification` loads from here.

    from transformers import pipeline
    classify = pipeline("image-classification", "<this folder>", trust_remote_code=True)

Logits are head(20 x v), where v is the L2-normalized vector of an image: the architecture's own (`pooler`), or of the
states of its last block, or of `layer`, their mean over all positions, the class token, or all positions one after
another (`flatten`). The head is linear, or, with `voters`, the votes of the k nearest stored vectors. This file needs
torch and transformers only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput


class ImageHeadConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers gives it no types
    """Settings.

    Attributes:
        backbone: a configuration of transformers.
        options: what else the backbone is built with.
        pooling: pooler | mean | cls | flatten.
        layer: block whose states are taken, from 1; null: the last one.
        before: tokens before those of the patches.
        interpolates: whether the images are of another size than the backbone was trained for.
        size: of the vector.
        scale: of the vector before the head.
        voters: null for a linear head.
    """

    model_type = "image_head"

    def __init__(
        self, backbone: dict[str, Any] | None = None, options: dict[str, Any] | None = None, pooling: str = "mean",
        layer: int | None = None, before: int = 0, interpolates: bool = False, size: int = 1, scale: float = 20.0,
        voters: dict[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.backbone, self.options, self.pooling, self.layer = backbone or {}, options or {}, pooling, layer
        self.before, self.interpolates, self.size, self.scale, self.voters = before, interpolates, size, scale, voters
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


class ImageHead(PreTrainedModel):  # type: ignore[no-untyped-call]  # likewise
    """The model; `logits` are (n, C)."""

    config_class = ImageHeadConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        stored = dict(config.backbone)
        inner = AutoConfig.for_model(stored.pop("model_type"), **stored)
        kind: Any = AutoModel
        self.backbone = kind.from_config(inner, **config.options)
        voters = config.voters
        self.head: nn.Module = (
            Voters(config.size, config.num_labels, **voters) if voters else nn.Linear(config.size, config.num_labels)
        )
        self.post_init()  # type: ignore[no-untyped-call]  # likewise

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Return logits, and the loss where labels are given."""
        vectors = functional.normalize(self.vectors(pixel_values), dim=-1)
        logits = self.head(vectors if self.config.voters else self.config.scale * vectors)
        if labels is None:
            return ImageClassifierOutput(logits=logits)
        return ImageClassifierOutput(loss=functional.cross_entropy(logits, labels), logits=logits)

    def vectors(self, pixels: Tensor) -> Tensor:
        """Pool the states of images (n, 3, height, width) into (n, d)."""
        config = self.config
        options: dict[str, Any] = {"interpolate_pos_encoding": True} if config.interpolates else {}
        if config.layer is not None:
            options["output_hidden_states"] = True
        output = self.backbone(pixel_values=pixels, **options)
        if config.pooling == "pooler":
            own: Tensor = output.pooler_output
            return own.float().flatten(1)
        states = output.last_hidden_state if config.layer is None else output.hidden_states[config.layer]
        hidden: Tensor = states.float()
        if hidden.ndim == 4:
            return hidden.flatten(1) if config.pooling == "flatten" else hidden.mean(dim=(2, 3))
        if config.pooling == "cls":
            return hidden[:, 0]
        patches = hidden[:, config.before :]
        return patches.flatten(1) if config.pooling == "flatten" else patches.mean(dim=1)
