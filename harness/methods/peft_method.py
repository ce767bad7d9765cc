"""Any adapter of the PEFT library: a YAML in conf/method gives its configuration."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.methods.base import GradientTrained, Hooks

if TYPE_CHECKING:
    from harness.models import Model
    from harness.models.classifier import Classifier


@dataclass(kw_only=True)
class PeftMethod(GradientTrained):
    """An adapter of PEFT on a frozen backbone, and the head.

    Attributes:
        config: a `peft.PeftConfig`, made from `config: {_target_: peft.LoraConfig, ...}`.
    """

    config: Any

    def adapt(self, classifier: Classifier, model: Model, total_steps: int) -> Hooks:
        """Wrap the backbone; only the adapter and the head train."""
        classifier.requires_grad_(False)
        classifier.backbone = wrap(classifier.backbone, copy.deepcopy(self.config), self.name, model)
        classifier.unfreeze_head()
        return PeftHooks()


class PeftHooks(Hooks):
    """Stores an adapter in PEFT's own format."""

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

    Which layers it changes is said by the method, else by the model, else by PEFT's table of architectures.

    Raises:
        HarnessError: PEFT refuses, and its reason.
    """
    from peft import get_peft_model

    if getattr(config, "target_modules", "absent") is None and model.target_modules:
        config.target_modules = set(model.target_modules)
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


def _linear_layers(backbone: Any) -> list[str]:
    """Last names of a backbone's linear layers."""
    from torch import nn

    return sorted({name.rsplit(".", 1)[-1] for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)})
