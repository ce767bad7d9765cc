"""Any adapter of the PEFT library: a YAML in conf/method gives its configuration."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.methods.base import GradientTrained, Hooks
from harness.models.architectures import ROLES, layers_of, modules_of

if TYPE_CHECKING:
    from harness.models import Model
    from harness.models.classifier import Batch, Classifier


@dataclass(kw_only=True)
class PeftMethod(GradientTrained):
    """An adapter of PEFT on a frozen backbone, and the head.

    Attributes:
        config: a `peft.PeftConfig`, made from `config: {_target_: peft.LoraConfig, ...}`.
        frozen: parts of an adapter that keep their initial values, by a part of their names, such as lora_A.
        rates: {part of a name: share of train.lr} for parts that learn at a rate of their own.
    """

    config: Any
    frozen: Sequence[str] = ()
    rates: Mapping[str, float] = field(default_factory=dict)

    def adapt(self, classifier: Classifier, model: Model, total_steps: int) -> Hooks:
        """Wrap the backbone; only the adapter and the head train."""
        classifier.requires_grad_(False)
        classifier.backbone = wrap(classifier.backbone, copy.deepcopy(self.config), self.name, model)
        for name, parameter in classifier.backbone.named_parameters():
            if any(part in name for part in self.frozen):
                parameter.requires_grad_(False)
        classifier.unfreeze_head()
        return PeftHooks(self.rates)

    def initialise(self, classifier: Classifier, batches: Iterable[Batch]) -> None:
        """Let EVA (Paischer et al. 2024, arXiv:2410.07170) take its factors from what the layers see."""
        if getattr(self.config, "init_lora_weights", None) == "eva":
            from peft import initialize_lora_eva_weights

            with warnings.catch_warnings():
                # It tells what it would do otherwise, on the way.
                warnings.simplefilter("ignore")
                initialize_lora_eva_weights(classifier.backbone, list(batches), show_progress_bar=False)


class PeftHooks(Hooks):
    """Stores an adapter in PEFT's own format."""

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
        self.rates = rates or {}

    def rate_factor(self, name: str) -> float:
        """Give the share of train.lr of a part that has a rate of its own."""
        return next((share for part, share in self.rates.items() if part in name), 1.0)

    def save(self, classifier: Classifier, directory: Path) -> bool:
        """Write adapter_config.json and adapter_model.safetensors, loadable by `PeftModel.from_pretrained`."""
        backbone: Any = classifier.backbone
        with warnings.catch_warnings():
            # PEFT takes a layer whose rank AdaLoRA cut to 0 for a shard of a distributed model.
            warnings.simplefilter("ignore")
            # Left to itself PEFT asks the hub whether the vocabulary was extended.
            backbone.save_pretrained(str(directory), save_embedding_layers=False)
        return True


def wrap(backbone: Any, config: Any, name: str, model: Model) -> Any:
    """Put an adapter into a backbone, in place.

    Which layers it changes is said by the method, by name or by role (`attention`: harness/models/architectures.py),
    else by the model, else by the architecture's queries and values, else by PEFT's table of architectures.

    Raises:
        HarnessError: PEFT refuses, and its reason.
    """
    from peft import get_peft_model

    _name_layers(backbone, config, model)
    try:
        with warnings.catch_warnings():
            # Notes for other libraries' users; what matters here is an exception.
            warnings.simplefilter("ignore")
            return get_peft_model(backbone, config)
    except (ValueError, TypeError, NotImplementedError, AttributeError, RuntimeError) as error:
        raise HarnessError(
            f"method={name} cannot adapt model={model.name}: {error} Layers that could be adapted: "
            f"{', '.join(_linear_layers(backbone))} (method.config.target_modules)."
        ) from error


def _name_layers(backbone: Any, config: Any, model: Model) -> None:
    """Put names of layers in the place of roles, and of nothing where PEFT would not know the architecture."""
    for key in ("target_modules", "feedforward_modules"):
        named = getattr(config, key, "absent")
        if isinstance(named, str) and named in ROLES:
            setattr(config, key, set(modules_of(backbone, named, model.name)))
    if getattr(config, "target_modules", "absent") is None:
        scales = hasattr(config, "feedforward_modules")  # IA3 adapts keys, values and the last feed-forward layer
        if model.target_modules and not scales:
            config.target_modules = set(model.target_modules)
        elif (layers := layers_of(backbone)) is not None:
            config.target_modules = set(layers.key_value + layers.feedforward_output if scales else layers.query_value)
            if scales and config.feedforward_modules is None:
                config.feedforward_modules = set(layers.feedforward_output)
        elif model.target_modules:
            config.target_modules = set(model.target_modules)


def _linear_layers(backbone: Any) -> list[str]:
    """Last names of a backbone's linear layers."""
    from torch import nn

    return sorted({name.rsplit(".", 1)[-1] for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)})
