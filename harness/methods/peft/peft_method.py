"""Any adapter of the PEFT library, configured by a YAML in conf/method."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, nearest
from harness.methods.base import GradientTrained, Hooks
from harness.methods.peft.ranges import out_of_range
from harness.models.architectures import BESIDE_ATTENTION, ROLES, ends, layers_of, modules_of
from harness.models.precision.quantization import import_peft
from harness.models.pretrained import LANGUAGE
from harness.models.sound_files.sound_pooling import reads_waveforms

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models import PretrainedModel
    from harness.models.network import AdaptedModel

# Types whose change of a layer's weights is linear in one kind of their parameters: a part of its name, and the value
# at which the layer is the pretrained one.
LINEAR = {
    "LORA": ("lora_B", 0.0),
    "ADALORA": ("lora_E", 0.0),
    "LOHA": ("hada_w2_b", 0.0),
    "VERA": ("vera_lambda_b", 0.0),
    "IA3": ("ia3_l", 1.0),
    "LN_TUNING": ("", 0.0),  # trains pretrained weights only
}
KEEPING = (True, False, "gaussian", "eva", "orthogonal")  # initializations of LoRA that keep the pretrained weights
INPUT_PROMPTS = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING")  # their virtual tokens are input embeddings


@dataclass(kw_only=True)
class PeftMethod(GradientTrained):
    """A PEFT adapter on a frozen backbone, and the head.

    Attributes:
        config: a `peft.PeftConfig`, made from `config: {peft_type: LORA, ...}`.
        frozen: parts of the adapter that keep their initial values, by a part of their names, such as lora_A.
        rates: {part of a name: fraction of train.lr} for parts with a learning rate of their own.
    """

    config: Any
    frozen: Sequence[str] = ()
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the ranges of `config`; refuse an initialization from data if the class does not implement it."""
        super().__post_init__()
        problems = list(out_of_range(self.config))
        if self.alpha != 1 and not _is_linear(self.config):
            problems.append(
                f"method.alpha={self.alpha} multiplies what an adapter adds to the weights of layers, and "
                f"method={self.name} adds to them in another way: leave method.alpha at 1, or use a method such as "
                "lora, ia3 or full."
            )
        starts = type(self).initialize is not GradientTrained.initialize
        if getattr(self.config, "init_lora_weights", None) == "eva" and not starts:
            problems.append(
                "method.config.init_lora_weights=eva begins from training rows, which this class does not read: use "
                "method=eva (kind: eva)."
            )
        if problems:
            raise HarnessError(*problems)

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        """Wrap the backbone; only the adapter and the head are trained.

        Raises:
            HarnessError: PEFT refuses, or `frozen` or `rates` match nothing that is trained.
        """
        network.requires_grad_(False)
        network.backbone = wrap(network.backbone, copy.deepcopy(self.config), self.name, model)
        trained = [name for name, p in network.backbone.named_parameters() if p.requires_grad]
        for key, parts in (("frozen", self.frozen), ("rates", self.rates)):
            for part in parts:
                if not any(part in name for name in trained):
                    known = {piece for name in trained for piece in name.split(".") if "_" in piece}
                    raise HarnessError(
                        f"method.{key} names {part!r}, which is no part of what method={self.name} trains. "
                        f"{nearest(part, known)}"
                    )
        for name, parameter in network.backbone.named_parameters():
            if any(part in name for part in self.frozen):
                parameter.requires_grad_(False)
        network.unfreeze_head()
        return PeftHooks(self.rates, self.config.peft_type)


def _is_linear(config: Any) -> bool:
    """Return whether multiplying one kind of parameters multiplies what an adapter changes (see `LINEAR`)."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind == "LORA":
        return not config.use_dora and config.init_lora_weights in KEEPING
    return kind in LINEAR


class PeftHooks(Hooks):
    """Stores an adapter in PEFT's own format.

    Args:
        rates: see `PeftMethod`.
        peft_type: of the adapter.
    """

    def __init__(self, rates: Mapping[str, float] | None = None, peft_type: str = "") -> None:
        self.rates, self.peft_type = rates or {}, str(getattr(peft_type, "value", peft_type))

    def unadapted(self, name: str, value: Tensor) -> Tensor | None:
        """Return the value at which what the parameter adds vanishes; see `LINEAR`."""
        part, neutral = LINEAR.get(self.peft_type, ("", 0.0))
        if part and part in name:
            return value.new_full(value.shape, neutral)
        # Others are pretrained weights in training, such as biases and norms, or belong to the adapter.
        adapter = any(piece in name for piece in ("lora_", "vera_", "hada_", "ia3_"))
        return None if adapter else value.clone()

    def rate_factor(self, name: str) -> float:
        """Return the fraction of train.lr for a part with its own rate; else 1."""
        return next((share for part, share in self.rates.items() if part in name), 1.0)

    def save(self, network: AdaptedModel, directory: Path) -> bool:
        """Write adapter_config.json and adapter_model.safetensors, loadable by `PeftModel.from_pretrained`."""
        backbone: Any = network.backbone
        with warnings.catch_warnings():
            # PEFT mistakes a layer whose rank AdaLoRA pruned to 0 for a shard of a distributed model.
            warnings.simplefilter("ignore")
            # By default PEFT asks the hub whether the vocabulary was extended.
            backbone.save_pretrained(str(directory), save_embedding_layers=False)
        return True


def wrap(backbone: Any, config: Any, name: str, model: PretrainedModel) -> Any:
    """Add an adapter to a backbone, in place.

    The layers to adapt are those that the method names, by name or by role (`attention`:
    harness/models/architectures.py); else those that the model names; else the architecture's queries and values (of a
    convolutional network, what mixes channels); else those in PEFT's table of architectures. For IA3, the
    architecture's keys, values and last feed-forward layer take precedence over the model's names.

    Raises:
        HarnessError: PEFT refuses, with its reason.
    """
    import_peft()
    from peft import get_peft_model

    if model.pooling == "model" and getattr(config, "peft_type", None) in INPUT_PROMPTS:
        raise HarnessError(
            f"method={name} gives the model embeddings instead of tokens, and a head of the architecture's own "
            "(model.pooling=model) may then not find the end of a text. Set model.pooling to mean, cls or last."
        )
    if _writes(model) and not reads_waveforms(backbone):  # PEFT's wrappers of writers pass token ids
        config.task_type = "SEQ_2_SEQ_LM" if backbone.config.is_encoder_decoder else "CAUSAL_LM"
    _name_layers(backbone, config, model)
    _name_sizes(backbone, config)
    _check_layers(backbone, config, name, model)
    try:
        with warnings.catch_warnings():
            # The warnings address users of PEFT; real problems raise exceptions.
            warnings.simplefilter("ignore")
            wrapped = get_peft_model(backbone, config)
            if getattr(config, "is_prompt_learning", False):
                _check_virtual_tokens(wrapped, name, model)
            return wrapped
    except (ValueError, TypeError, NotImplementedError, AttributeError, RuntimeError) as error:
        raise HarnessError(
            f"method={name} cannot adapt model={model.name}: {error} Layers that could be adapted: "
            f"{', '.join(_linear_layers(backbone))} (method.config.target_modules)."
        ) from error


def _name_layers(backbone: Any, config: Any, model: PretrainedModel) -> None:
    """Replace roles by layer names, and fill in layer names where PEFT does not know the architecture."""
    for key in ("target_modules", "feedforward_modules"):
        named = getattr(config, key, "absent")
        if isinstance(named, str) and named in ROLES:
            setattr(config, key, _of_role(backbone, named, model))
    if getattr(config, "target_modules", "absent") is None:
        # IA3 adapts keys, values and the last feed-forward layer; the model's names are meant for other adapters.
        scales = hasattr(config, "feedforward_modules")
        if model.target_modules and not scales:
            config.target_modules = set(model.target_modules)
        elif (layers := layers_of(backbone)) is not None:
            # Convolutional networks have no queries and values.
            named = layers.key_value + layers.feedforward_output if scales else layers.query_value or layers.all_linear
            config.target_modules = set(named)
            if scales and config.feedforward_modules is None:
                config.feedforward_modules = set(layers.feedforward_output)
        elif model.target_modules:
            config.target_modules = set(model.target_modules)


def _of_role(backbone: Any, role: str, model: PretrainedModel) -> set[str]:
    """Return the names for PEFT, which matches by suffix: BERT's `output.dense` matches the attention's, too."""
    suffixes = modules_of(backbone, role, model.name)
    if role not in BESIDE_ATTENTION:
        return _with_weights(backbone, suffixes)
    others = modules_of(backbone, "attention", model.name)
    return {name for name, _ in backbone.named_modules() if ends(name, suffixes) and not ends(name, others)}


def _with_weights(backbone: Any, suffixes: list[str]) -> set[str]:
    """Return the suffixes, or full names if some matching layers have no weights, such as ModernBERT's first norm."""
    found = [(name, layer) for name, layer in backbone.named_modules() if ends(name, suffixes)]
    full = {name for name, layer in found if any(True for _ in layer.parameters())}
    return full if len(full) < len(found) else set(suffixes)


def _name_sizes(backbone: Any, config: Any) -> None:
    """Set the sizes of a prompt method that PEFT cannot read from the architecture's configuration."""
    if not getattr(config, "is_prompt_learning", False):
        return
    settings, known = backbone.config, backbone.config.to_dict()
    if config.peft_type.value in INPUT_PROMPTS:  # in ALBERT and ELECTRA embeddings are smaller
        size = backbone.get_input_embeddings().embedding_dim
        if size != settings.hidden_size:
            config.token_dim = size
    if not {"hidden_size", "n_embd", "d_model"} & set(known):  # e.g. DistilBERT
        config.token_dim = config.token_dim or settings.hidden_size
        config.num_layers = config.num_layers or settings.num_hidden_layers
        config.num_attention_heads = config.num_attention_heads or settings.num_attention_heads


def _check_layers(backbone: Any, config: Any, name: str, model: PretrainedModel) -> None:
    """Refuse methods that PEFT applies wrongly to GPT-2's transposed layers."""
    from transformers.pytorch_utils import Conv1D

    kind = config.peft_type.value
    olora = getattr(config, "init_lora_weights", None) == "olora"
    if (olora or kind == "OSF") and any(isinstance(layer, Conv1D) for layer in backbone.modules()):
        raise HarnessError(
            f"method={name} cannot adapt model={model.name}: its layers keep their weights transposed (Conv1D), which "
            f"PEFT's {'OLoRA' if olora else 'OSF'} does not know. Use method=lora or another model."
        )


def _check_virtual_tokens(wrapped: Any, name: str, model: PretrainedModel) -> None:
    """Compute two short rows, to see whether the architecture accepts virtual tokens; random streams do not change."""
    import torch

    ids = torch.ones(2, 2, dtype=torch.int64, device=next(wrapped.parameters()).device)
    mask = ids.tril()  # with padding: e.g. DistilBERT ignores a mask without any
    decoder = {"decoder_input_ids": ids} if wrapped.base_model.config.is_encoder_decoder and _writes(model) else {}
    try:
        with torch.random.fork_rng(), torch.no_grad():
            wrapped.eval()(input_ids=ids, attention_mask=mask, **decoder)
    except RuntimeError as error:
        raise HarnessError(
            f"method={name} cannot adapt model={model.name}: its architecture ({wrapped.base_model.config.model_type}) "
            f"does not take the method's virtual tokens ({error}). Use prompt_tuning, p_tuning or lora."
        ) from error


def _writes(model: PretrainedModel) -> bool:
    return model.pooling == LANGUAGE


def _linear_layers(backbone: Any) -> list[str]:
    """Return the last parts of the names of a backbone's linear layers."""
    from torch import nn

    return sorted({name.rsplit(".", 1)[-1] for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)})
