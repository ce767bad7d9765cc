"""The network of task families that write texts: a backbone with its own language-modelling head."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.models.image_files.image_pooling import reads_pixels
from harness.models.language.token_network import TokenNetwork
from harness.models.network import AdaptedModel
from harness.models.pooling import widened
from harness.models.pretrained import HISTORY, LANGUAGE, TOKENS
from harness.models.recommenders.history_network import HistoryNetwork
from harness.models.sound_files.sound_pooling import reads_waveforms
from harness.models.sounds.sound_model import SoundModel
from harness.models.vision.image_model import ImageModel

IGNORED = -100  # label of a token without a part in the loss, as in transformers
OUTPUTS = 2  # values for a row: the sum of its tokens' losses, and their number


class LanguageModel(AdaptedModel):
    """A decoder, or an encoder with a decoder, that predicts the labeled tokens of a batch.

    The pretrained language-modelling head is part of the backbone: it starts from its own weights and is trained at
    `train.lr` if the method trains it.

    Args:
        backbone: an `AutoModelForCausalLM` or `AutoModelForSeq2SeqLM`.

    Attributes:
        label_smoothing: in training mode, share of each target that is spread over the vocabulary.
    """

    label_smoothing = 0.0

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__(backbone, LANGUAGE, OUTPUTS)

    def forward(self, batch: Batch) -> Tensor:
        """Return for each row the sum of the negative log likelihoods of its labeled tokens, and their number: (n, 2).

        Args:
            batch: with `labels` (n, length) int64, `IGNORED` where there is none. Those of a decoder are its inputs,
                not shifted; those of an encoder-decoder are the tokens of the decoder. Packed rows have
                `position_ids` instead of an attention mask.
        """
        labels = batch["labels"]
        inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name != "labels"}
        if "position_ids" in inputs:
            inputs["use_cache"] = False  # with a cache, transformers would not keep packed rows apart
        if self.is_encoder_decoder:
            # With labels the model makes the decoder's inputs from them.
            logits = self.backbone(**inputs, labels=labels).logits
            logits = logits[:, logits.shape[1] - labels.shape[1] :]  # without an adapter's virtual tokens
        else:
            first = int((labels[:, 1:] != IGNORED).any(dim=0).int().argmax())  # prediction of the first labeled column
            labels = labels[:, first + 1 :]
            kept = labels.shape[1] + 1
            if self._keeps_logits:
                inputs["logits_to_keep"] = kept  # the head is large: no logits of the prompts
            logits = self.backbone(**inputs).logits[:, -kept:-1]
        losses = functional.cross_entropy(
            widened(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none",
            label_smoothing=self.label_smoothing if self.training else 0.0,
        ).view(labels.shape)  # fmt: skip
        return torch.stack([losses.sum(dim=1), (labels != IGNORED).sum(dim=1).to(losses.dtype)], dim=1)

    def features(self, batch: Batch) -> Tensor:
        """Raise: there are no pooled vectors.

        Raises:
            TypeError: always.
        """
        raise TypeError("A model that writes texts has no pooled vectors.")

    @property
    def bare(self) -> Any:
        """The transformers model without the adapter's outer wrapper; adapted layers stay in place."""
        backbone: Any = self.backbone
        return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone

    @property
    def is_encoder_decoder(self) -> bool:
        """True for an encoder with a decoder."""
        return bool(self.bare.config.is_encoder_decoder)

    @property
    def _keeps_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.bare.forward).parameters

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return nothing: the language-modelling head belongs to the backbone."""
        return iter(())

    def _in_head(self, name: str) -> bool:
        return False


def network_on(backbone: nn.Module, pooling: str, outputs: int) -> AdaptedModel:
    """Make the network of a backbone: with a head on pooled vectors or token vectors, or a writer.

    Args:
        backbone: see `harness.models.network.load_backbone`.
        pooling: see `PretrainedModel`.
        outputs: number of values that the head returns for a row.
    """
    if pooling == LANGUAGE:
        return LanguageModel(backbone)
    if pooling == HISTORY:
        return HistoryNetwork(backbone, outputs)
    if pooling == TOKENS:
        return TokenNetwork(backbone, outputs)
    if reads_waveforms(backbone):
        return SoundModel(backbone, pooling, outputs)
    return (ImageModel if reads_pixels(backbone) else AdaptedModel)(backbone, pooling, outputs)
