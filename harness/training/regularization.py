"""Regularization: harder losses, learning rates that decrease with depth, and averaged weights.

Each is one key of `train`, off by default; they can be combined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.config.schema import LOSSES, TrainConfig
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.methods.base import Hooks
from harness.models.architectures import ARCHITECTURES, layers_of
from harness.models.inference import autocast
from harness.models.language.language_model import LanguageModel
from harness.models.network import AdaptedModel
from harness.models.retrieval.retrieval_network import RetrievalNetwork
from harness.tasks.runtime import TaskRuntime

# Modules below the blocks other than the embedding's own: GPT-2's positions, ELECTRA's and ALBERT's projections.
BELOW = ("wpe", "embeddings_project", "embedding_hidden_mapping_in")
EMA_SOON = 10  # steps over which the decay of the moving average rises, so that initial weights are forgotten


class Loss:
    """The loss of a batch: that of the task, with the regularization that `train` sets.

    Random numbers come from torch's generators, whose state the session holds and checkpoints.

    Args:
        network: adapted by its method, before the first step.
        task: the family of the task.
        config: training settings.
        hooks: of the method.
        device: where the network is.

    Raises:
        HarnessError: a setting does not work with this method or model.
    """

    def __init__(
        self, network: AdaptedModel, task: TaskRuntime, config: TrainConfig, hooks: Hooks, device: torch.device
    ) -> None:
        self.network, self.task, self.config, self.device = network, task, config, device
        keys = (*LOSSES, "label_smoothing")
        on = [f"train.{name}={getattr(config, name)}" for name in keys if getattr(config, name) > 0]
        if on and type(hooks).loss is not Hooks.loss:
            raise HarnessError(
                f"{', '.join(on)} changes how the loss is computed, and this method has a loss of its own: "
                "leave it at 0 (regularise=ema, layer_decay, weight_decay and dropout work with every method)."
            )
        # Correct after a restart, too: the network is initialized again before the checkpoint's weights are loaded.
        self.initial = _matrices(network) if config.mixout > 0 else {}
        self.embeddings = _embeddings(network, "fgm") if config.fgm > 0 else None
        self.noisy = _embeddings(network, "neftune") if config.neftune > 0 else []
        if isinstance(network, LanguageModel):
            network.label_smoothing = config.label_smoothing
        if isinstance(network, RetrievalNetwork):
            network.temperature = config.temperature

    def __call__(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch; targets are those of its rows (see `TaskRuntime.targets`)."""
        if self.embeddings is None:
            return self._loss(batch, targets)
        return adversarial(
            lambda: self._loss(batch, targets), self.embeddings, batch["attention_mask"], self.config.fgm
        )

    @property
    def plain(self) -> bool:
        """True if the loss is `of_outputs` of a single pass."""
        return all(getattr(self.config, name) == 0 for name in LOSSES)

    def of_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of outputs (n, m)."""
        return self.task.loss(outputs, targets, self.config.label_smoothing)

    def _loss(self, batch: Batch, targets: Tensor) -> Tensor:
        weight = self.config.r_drop
        outputs = self._outputs(batch)
        loss = self.of_outputs(outputs, targets)
        if weight == 0:  # R-Drop: Liang et al. 2021, arXiv:2106.14448
            return loss
        others = self._outputs(batch)
        if torch.equal(outputs, others):
            raise HarnessError(
                f"train.r_drop={weight} compares two passes with other dropout, and there is no dropout: set "
                "train.dropout=0.1 (or a dropout of the method's own), or leave train.r_drop at 0."
            )
        loss = (loss + self.of_outputs(others, targets)) / 2
        return loss + weight * self.task.divergence(outputs, others)

    def _outputs(self, batch: Batch) -> Tensor:
        with autocast(self.device, self.config.precision), noise(self.noisy, self.config.neftune):
            if not self.initial:
                plain: Tensor = self.network(batch)
                return plain
            mixed: Tensor = torch.func.functional_call(self.network, self._mixed(), (batch,))
            return mixed

    def _mixed(self) -> dict[str, Tensor]:
        """Return weights with a random part at its initial value: mixout (Lee, Cho and Kang 2020, arXiv:1909.11299).

        The change from the initial value is rescaled, so that the expectation is the current weight.
        """
        share, trained = self.config.mixout, self.network.trainable()
        mixed: dict[str, Tensor] = {}
        for name, initial in self.initial.items():
            kept = (torch.rand_like(initial) >= share).to(initial.dtype)
            mixed[name] = initial + (trained[name] - initial) * kept / (1 - share)
        return mixed


@contextmanager
def noise(embeddings: Sequence[nn.Module], alpha: float) -> Iterator[None]:
    """Add uniform noise to the outputs (n, length, d) of token embeddings within the block: NEFTune.

    Jain et al. 2023, arXiv:2310.05914; the same draws as `neftune_noise_alpha` of transformers and TRL, which count
    padding in the length, too.

    Args:
        embeddings: the modules.
        alpha: the noise lies between -alpha / sqrt(length * d) and its opposite.
    """

    def add(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        largest = alpha / math.sqrt(output.shape[1] * output.shape[2])
        return output + torch.zeros_like(output).uniform_(-largest, largest)

    handles = [module.register_forward_hook(add) for module in embeddings]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def adversarial(loss: Callable[[], Tensor], embeddings: list[nn.Module], mask: Tensor, size: float) -> Tensor:
    """Return the mean of a loss and its adversarial counterpart (FGM).

    Miyato, Dai and Goodfellow 2017, arXiv:1605.07725.

    Token embeddings are moved along their gradient, separately for each row. The paper normalizes the embeddings so
    that the step size is meaningful; here the step is a fraction of the row's own norm, so the scale of the pretrained
    table does not matter.

    Args:
        loss: computes the loss of a batch of n rows.
        embeddings: the modules of which one returns (n, length, d).
        mask: (n, length), 1 where there is text.
        size: the fraction.
    """
    added: dict[str, Tensor] = {}

    def add(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if output.shape[:2] != mask.shape:
            return output  # virtual tokens of a prompt, looked up in the same table
        if "step" in added:
            return output + added["step"].to(output.dtype)
        if "zero" not in added:
            added["zero"] = torch.zeros_like(output, requires_grad=True)
            added["norm"] = (output.detach() * mask.unsqueeze(-1)).flatten(1).norm(dim=1)
        return output + added["zero"]

    handles = [module.register_forward_hook(add) for module in embeddings]
    try:
        plain = loss()
        if "zero" not in added:
            raise HarnessError("train.fgm moves token embeddings, and this method bypasses them: leave train.fgm at 0.")
        (gradient,) = torch.autograd.grad(plain, added["zero"], retain_graph=True)
        # Scaled by its largest element first: the square of a tiny gradient would underflow.
        largest = gradient.abs().amax(dim=(1, 2), keepdim=True)
        gradient = torch.where(largest > 0, gradient / largest, 0.0)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1.0)  # the largest element contributes 1
        added["step"] = gradient * (size * added["norm"] / length)[:, None, None]
        return (plain + loss()) / 2
    finally:
        for handle in handles:
            handle.remove()


class WeightAverage:
    """Exponential moving average of the trainable weights (after Polyak and Juditsky 1992).

    Args:
        network: before the first step.
        decay: fraction of the average that a step keeps; lower at the beginning.
        hooks: of the method; pruned values stay pruned.
    """

    def __init__(self, network: AdaptedModel, decay: float, hooks: Hooks) -> None:
        self.network, self.decay, self.hooks = network, decay, hooks
        self.parameters = network.trainable()
        self.weights = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (EMA_SOON + step))
        averages = [self.weights[name] for name in self.parameters]
        torch._foreach_lerp_(averages, list(self.parameters.values()), 1 - decay)
        for name in self.hooks.cut():
            self.weights[name].mul_(self.parameters[name] != 0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the network's weights by the average within the block."""
        own = {name: p.detach().clone() for name, p in self.parameters.items()}
        try:
            self.network.put(self.weights)
            yield
        finally:
            self.network.put(own)


def depth_factors(network: AdaptedModel, decay: float) -> Callable[[str], float]:
    """Return the function from a parameter's name to its fraction of the learning rate: `decay` per block above it.

    Token embeddings are below all blocks. Layer-wise decay as in Howard and Ruder 2018 (arXiv:1801.06146) and Clark et
    al. 2020 (ELECTRA, arXiv:2003.10555). Parameters above the blocks, or beside them as a prompt's, learn at the full
    rate.

    Raises:
        HarnessError: the architecture's blocks are not known, or are those of an encoder and a decoder.
    """
    if decay == 1.0:
        return lambda name: 1.0
    layers = layers_of(network.backbone)
    if layers is None:
        kind = getattr(network.backbone.config, "model_type", type(network.backbone).__name__)
        raise HarnessError(
            f"train.layer_decay={decay} needs to know the order of blocks, and those of {kind} are not known. Known: "
            f"{', '.join(sorted(ARCHITECTURES))}. Leave train.layer_decay at 1."
        )
    stacks = {
        part for name, _ in network.named_parameters() for part in name.split(".") if part in ("encoder", "decoder")
    }
    if len(stacks) == 2:
        raise HarnessError(
            f"train.layer_decay={decay} needs one order of blocks, and this model has an encoder and a decoder. Leave "
            "train.layer_decay at 1."
        )
    path = f".{layers.blocks}."
    below = [f".{part}." for part in (layers.embedding.rpartition(".")[0] or layers.embedding, *BELOW)]

    def block(name: str) -> int | None:
        index = f".{name}".partition(path)[2].split(".")[0]
        return int(index) if index.isdigit() else None

    count = 1 + max((found for name, _ in network.named_parameters() if (found := block(name)) is not None), default=-1)

    def factor(name: str) -> float:
        index = block(name)
        if index is not None:
            return float(decay ** (count - 1 - index))
        return float(decay**count) if any(part in f".{name}" for part in below) else 1.0

    return factor


def _matrices(network: AdaptedModel) -> dict[str, Tensor]:
    """Copy the trainable matrices outside the head; biases and norms are not mixed, as in mixout's paper."""
    head = {name for name, _ in network.head_parameters()}
    found = {name: p.detach().clone() for name, p in network.trainable().items() if name not in head and p.ndim > 1}
    if not found:
        raise HarnessError(
            "train.mixout mixes trained matrices with their initial values, and this method trains none outside the "
            "head: leave train.mixout at 0."
        )
    return found


def _embeddings(network: AdaptedModel, key: str) -> list[nn.Module]:
    """Return the token embedding and modules that share its table, such as the one in T5's encoder."""
    found = getattr(network.backbone, "get_input_embeddings", lambda: None)()
    if not isinstance(found, nn.Module):
        raise HarnessError(f"train.{key} moves token embeddings, and this model names none: leave train.{key} at 0.")
    shared = found.weight if isinstance(found, nn.Embedding) else None
    return [m for m in network.modules() if m is found or (isinstance(m, nn.Embedding) and m.weight is shared)]
