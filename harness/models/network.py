"""The network that every method ends in: backbone, pooling and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.models.files.model_files import TOKENIZERS
from harness.models.frozen_prefix import FrozenPrefix
from harness.models.heads import HEADS, SCALE
from harness.models.histories import ItemIndex, NoBackbone
from harness.models.image_files.image_architectures import BOXES
from harness.models.image_files.image_pooling import FLATTEN, use_layer, width_of_vectors
from harness.models.image_files.image_processor import load_processor
from harness.models.loading import brief, load_weights
from harness.models.pooling import POOLED_WIDTH, pool, widened, width
from harness.models.precision.quantization import quantized
from harness.models.pretrained import INTERACTIONS, OWN_HEADS, ResolvedModel
from harness.models.sound_files.sound_pooling import prepare_sounds
from harness.models.sound_files.sound_processor import load_sound_processor
from harness.models.start.tensors import apply
from harness.models.weights_check import check_finite


class AdaptedModel(nn.Module):
    """A backbone with a linear head on 20 x its L2-normalized pooled vector.

    With pooling `model`, the architecture's own classification head is used instead, for comparison with papers.

    Args:
        backbone: an `AutoModel`, or an `AutoModelForSequenceClassification` for pooling `model`.
        pooling: mean | cls | last | model.
        classes: number of classes C.

    Attributes:
        boundary: the blocks that a method has frozen; None if any block may change.
    """

    def __init__(self, backbone: nn.Module, pooling: str, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.classes = classes
        self.boundary: FrozenPrefix | None = None
        self.head: nn.Module | None = None if pooling in OWN_HEADS else nn.Linear(width(backbone), classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch: (n, C) float32."""
        if self.head is None:
            logits: Tensor = self.backbone(**batch).logits
            return widened(logits)
        return self.apply_head(self.features(batch))

    def apply_head(self, features: Tensor) -> Tensor:
        """Return the logits (n, C) float32 of L2-normalized pooled vectors (n, d)."""
        assert self.head is not None
        # The head is small, so float32 costs nothing; autocast would round away the differences between similar
        # classes.
        with torch.autocast(features.device.type, enabled=False):
            scaled: Tensor = self.head(SCALE * features)
            return scaled

    def features(self, batch: Batch) -> Tensor:
        """Return the L2-normalized pooled vectors of a batch: (n, d) float32."""
        hidden = widened(self.backbone(**batch).last_hidden_state)
        # An adapter may prepend virtual tokens; they are no part of the text.
        hidden = hidden[:, hidden.shape[1] - batch["attention_mask"].shape[1] :]
        return functional.normalize(pool(hidden, batch["attention_mask"], self.pooling), dim=-1)

    def train(self, mode: bool = True) -> AdaptedModel:
        """Set the mode; a backbone without trainable parameters stays in eval mode, so it has no dropout either."""
        super().train(mode)
        if self.boundary is not None:
            self.boundary.train(mode)
        elif not any(parameter.requires_grad for parameter in self.trunk_parameters()):
            self.backbone.eval()
        return self

    def train_from(self, blocks: Sequence[nn.Module], frozen: int) -> None:
        """Make the last blocks of the backbone and the head trainable.

        Args:
            blocks: all blocks, first to last.
            frozen: how many of the first blocks stay frozen, with all layers below.
        """
        self.requires_grad_(False)
        for block in blocks[frozen:]:
            block.requires_grad_(True)
        self.unfreeze_head()
        self.boundary = FrozenPrefix(self.backbone, blocks, frozen)

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the named parameters of the head, whether it is linear or the architecture's own."""
        return ((name, p) for name, p in self.named_parameters() if self._in_head(name))

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters outside the head."""
        return (p for name, p in self.named_parameters() if not self._in_head(name))

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the trainable parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights into the parameters, by name."""
        parameters = dict(self.named_parameters())
        for name, tensor in weights.items():
            parameters[name].copy_(tensor)

    def unfreeze_head(self) -> None:
        """Make the head trainable, after a method has frozen what it does not train."""
        for _, parameter in self.head_parameters():
            parameter.requires_grad_(True)

    def reset_head(self) -> None:
        """Initialize the head from torch's generator: normal(0, 0.02), biases 0."""
        for name, parameter in self.head_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def set_head(self, weight: npt.NDArray[np.floating[Any]], bias: npt.NDArray[np.floating[Any]]) -> None:
        """Set the head's weight (C, d) and bias (C,), which apply to 20 x the normalized vector."""
        if not isinstance(self.head, nn.Linear):
            raise TypeError("Only a linear head can be set.")
        with torch.no_grad():
            self.head.weight.copy_(torch.as_tensor(weight))
            self.head.bias.copy_(torch.as_tensor(bias))

    def set_dropout(self, probability: float) -> None:
        """Set all dropout probabilities of the backbone, before a method adds layers with dropout of their own."""
        for module in self.backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability
            # Attention functions read their dropout probability from an attribute of the module.
            for name, value in vars(module).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(module, name, probability)
        config = getattr(self.backbone, "config", None)
        for name, value in vars(config).items() if config is not None else ():
            if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
                setattr(config, name, probability)

    def _in_head(self, name: str) -> bool:
        if self.head is not None:
            return name.startswith("head.")
        return any(part in HEADS for part in name.split("."))


def load_backbone(resolved: ResolvedModel, pooling: str, classes: int) -> nn.Module:
    """Load pretrained weights, in float32 and eval mode, on the CPU.

    Weights that the files lack (a new classification head, some poolers) are drawn from a fixed seed, so that untrained
    weights are the same in every run. Of T5 and related models only the encoder is loaded. Decoders keep no key-value
    cache, which classification does not need.

    Raises:
        HarnessError: transformers cannot load the files, they lack weights outside the head, or some values are not
            finite.
    """
    if resolved.architecture == INTERACTIONS:
        return NoBackbone().eval()
    options = quantized(resolved.quantize) if resolved.quantize else {}
    backbone = load_weights(resolved, pooling, classes, **options).backbone
    if resolved.reads_images:
        _prepare_images(backbone, resolved, pooling)
    elif resolved.reads_sounds:
        what = f"the model at {resolved.path} ({resolved.source})"
        prepare_sounds(backbone, load_tokenizer(resolved), pooling, resolved.layer, what)
    if resolved.start is not None:
        apply(backbone, resolved.start)
    check_finite(backbone.named_parameters(), f"The model at {resolved.path} ({resolved.source})")
    settings: Any = backbone.config
    if resolved.quantize:
        # Integer tensors cannot require gradients, and the methods allowed here do not train the base weights.
        backbone.requires_grad_(False)
    if getattr(settings, "use_cache", False):
        settings.use_cache = False
    if pooling == "model" and not resolved.reads_images and settings.pad_token_id is None:
        # A decoder's own head finds the last token of a text by the padding token.
        settings.pad_token_id = load_tokenizer(resolved).pad_token_id
    return backbone.eval()


def _prepare_images(backbone: Any, resolved: ResolvedModel, pooling: str) -> None:
    """Apply `model.layer`, and note the size of vectors that it or pooling by `flatten` gives."""
    if pooling == BOXES:
        if hasattr(backbone, "end_after"):  # what follows the blocks makes the one vector of an image
            backbone.end_after(len(backbone.blocks))
        return
    if resolved.layer is None and pooling != FLATTEN:
        return
    processor = load_processor(resolved.path, resolved.source, resolved.architecture, resolved.image)
    if resolved.layer is not None:
        what = f"the model at {resolved.path} ({resolved.source})"
        use_layer(backbone.eval(), resolved.layer, processor.shape, what)
    setattr(backbone, POOLED_WIDTH, width_of_vectors(backbone.eval(), pooling, processor.shape))


def load_tokenizer(resolved: ResolvedModel) -> Any:
    """Load a model's tokenizer; one without a padding token, as of many decoders, pads with its end token.

    Of a model that reads images, load its `harness.models.image_files.image_processor.ImageProcessor` instead, and of
    one that reads sounds its `harness.models.sound_files.sound_processor.SoundProcessor`, which has the tokenizer of a
    model that transcribes.

    Raises:
        HarnessError: transformers cannot load a tokenizer, or the image processor does not work.
    """
    if resolved.architecture == INTERACTIONS:
        return ItemIndex()
    if resolved.reads_sounds:
        processor = load_sound_processor(resolved.path, resolved.source, resolved.architecture, resolved.sound)
        if resolved.transcribes:
            processor.text = _load_text_tokenizer(resolved)
            processor.model_max_length = processor.text.model_max_length
        return processor
    if resolved.reads_images:
        return load_processor(resolved.path, resolved.source, resolved.architecture, resolved.image)
    return _load_text_tokenizer(resolved)


def _load_text_tokenizer(resolved: ResolvedModel) -> Any:
    from transformers import AutoTokenizer

    if resolved.path.is_dir() and not any(any(resolved.path.glob(name)) for name in (*TOKENIZERS, "*.model", "*.spm")):
        # From its settings alone, transformers makes a tokenizer without a vocabulary, to which all texts are alike.
        raise HarnessError(
            f"{resolved.path} ({resolved.source}) has no tokenizer ({', '.join(TOKENIZERS)}). Fetch or save it again."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(resolved.path), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizers raises bare `Exception`s
        raise HarnessError(
            f"The tokenizer at {resolved.path} ({resolved.source}) cannot be loaded: {brief(error)}. Fetch or save it "
            "again."
        ) from error
    if not isinstance(longest := tokenizer.model_max_length, int | float) or not 0 < longest < float("inf"):
        raise HarnessError(
            f"The tokenizer at {resolved.path} ({resolved.source}) has model_max_length {longest!r} in its "
            "tokenizer_config.json, and a number of tokens is needed. Correct it, or take it out."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
