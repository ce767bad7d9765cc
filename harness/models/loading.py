"""Load pretrained weights and tokenizers with transformers, and check that no expected weight is random."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from harness.errors import HarnessError
from harness.models.cpu_kernels import register_attention
from harness.models.image_files.image_architectures import BOXES
from harness.models.image_files.image_loading import check_pooler, image_kind
from harness.models.pretrained import LANGUAGE, ResolvedModel
from harness.models.sound_files.sound_loading import sound_kind, sound_options, without_decoder, without_masking
from harness.models.weights_check import check_fit, notes

ENCODER_DECODERS = ("t5", "mt5", "umt5")  # their encoder is a separate model
SHIFTING = ("bart", "mbart", "plbart", "mvp", "led", "bigbird_pegasus")  # their decoder reads the same text
# What transformers and safetensors raise for files that are not a model, or not a supported one.
FAILURES = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError, SafetensorError)


@dataclass(frozen=True)
class Loaded:
    """A loaded backbone, with notes about its files.

    Attributes:
        backbone: a transformers model.
        notes: sentences for the user.
        unused: names of tensors in the files that the backbone does not use.
    """

    backbone: nn.Module
    notes: tuple[str, ...]
    unused: frozenset[str]


def load_weights(resolved: ResolvedModel, pooling: str, classes: int, **options: Any) -> Loaded:
    """Load pretrained weights, in float32 unless quantized; new heads are drawn from a fixed seed.

    Args:
        resolved: the model's files.
        pooling, classes: `model` loads the architecture's own classification head, for this number of classes.
        options: further arguments of `from_pretrained`.

    Raises:
        HarnessError: transformers cannot load them, or some weights are missing or have other shapes.
    """
    from transformers.utils import logging

    register_attention()
    # Progress bars and messages about unused weights would mix with a run's own output.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers gives these no types
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    what = f"The model at {resolved.path} ({resolved.source})"
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        find = sound_kind if resolved.reads_sounds else image_kind if resolved.reads_images else _kind
        kind = find(resolved.path, pooling, what)
        options = options | (sound_options(kind) if resolved.reads_sounds else {})
        try:
            backbone, info = _from_pretrained(kind, resolved.path, options | _extras(pooling, classes))
        except TypeError:
            # Not every architecture has the option to omit the pooling layer.
            backbone, info = _from_pretrained(kind, resolved.path, options | _extras(pooling, classes, False))
    except torch.OutOfMemoryError:
        raise
    except HarnessError:
        raise
    except Exception as error:  # what checks config.json has exceptions of several packages
        raise HarnessError(f"{what} cannot be loaded: {brief(error)}.") from error
    finally:
        torch.set_rng_state(state)
    read = getattr(backbone, "main_input_name", "input_ids")
    if resolved.reads_sounds:
        info = without_decoder(info)
        without_masking(backbone)
    elif resolved.reads_images:
        check_pooler(set(info["missing_keys"]), pooling, what)
    elif read != "input_ids":
        raise HarnessError(f"{what} is of an architecture that reads no texts ({resolved.architecture}: {read}).")
    check_fit(backbone, info, pooling, what)
    encoder_only = kind.__name__ == "AutoModelForTextEncoding"
    said = [*notes(backbone, info, what, encoder_only), *_architecture_notes(backbone.config, what)]
    return Loaded(backbone, tuple(said), frozenset(info["unexpected_keys"]))


def _architecture_notes(config: Any, what: str) -> list[str]:
    """Report a config.json that names two architectures: tensors of related architectures can have the same names."""
    import transformers

    for name in getattr(config, "architectures", None) or ():
        made_by = getattr(getattr(transformers, str(name), None), "config_class", None)
        if made_by is not None and not isinstance(config, made_by) and not issubclass(made_by, type(config)):
            return [
                f"{what} is loaded as {config.model_type}, as model_type in its config.json says, but was saved as "
                f"{name}. If that is what it is, correct model_type."
            ]
    return []


def brief(error: BaseException) -> str:
    """Return the first line of a library's error message, with the next one if it ends in a colon."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")


def _kind(path: Path, pooling: str, what: str) -> Any:
    """Return the auto class that loads a model.

    Raises:
        HarnessError: transformers does not support the architecture.
    """
    from transformers import (
        CONFIG_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        MODEL_MAPPING,
        AutoConfig,
        AutoModel,
        AutoModelForSequenceClassification,
        AutoModelForTextEncoding,
        __version__,
    )

    written = json.loads((path / "config.json").read_text(encoding="utf-8"))
    architecture = written.get("model_type")
    if architecture not in CONFIG_MAPPING:
        if written.get("auto_map"):
            raise HarnessError(
                f"{what} is built by code of its own (config.json: auto_map, model_type={architecture}), and code that "
                "comes with a model is never run here. Name a model whose architecture is part of transformers."
            )
        close = difflib.get_close_matches(str(architecture), list(CONFIG_MAPPING.keys()), n=3)
        hint = f"Did you mean {' or '.join(close)}? Correct" if close else "Correct"
        raise HarnessError(
            f"{what} is of an architecture that transformers {__version__} does not know: config.json says "
            f"model_type={architecture}. {hint} config.json, or install a version that knows it."
        )
    config = AutoConfig.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
    if pooling == LANGUAGE:
        return _writer(config, what)
    if pooling == "model":
        if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
            raise HarnessError(
                f"{what} has no classification head of its own: transformers has none for {architecture}. "
                "Use model.pooling=mean, cls or last."
            )
        return AutoModelForSequenceClassification
    if type(config) not in MODEL_MAPPING:
        raise HarnessError(
            f"{what} has no vectors of tokens to classify by: transformers has no plain model of {architecture}. Name "
            "an encoder, a decoder or T5."
        )
    if getattr(config, "is_encoder_decoder", False) and architecture not in (*ENCODER_DECODERS, *SHIFTING):
        raise HarnessError(
            f"{what} is an encoder with a decoder ({architecture}) that needs a text of its own: it cannot classify. "
            f"Name an encoder, a decoder, or one of {', '.join((*ENCODER_DECODERS, *SHIFTING))}."
        )
    return AutoModelForTextEncoding if architecture in ENCODER_DECODERS else AutoModel


def _writer(config: Any, what: str) -> Any:
    """Return the auto class of a model that writes texts: a decoder, or an encoder with a decoder.

    Raises:
        HarnessError: the architecture is an encoder, or has no language-modelling head.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
    )

    kind = type(config)
    if getattr(config, "is_encoder_decoder", False) and kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return AutoModelForSeq2SeqLM
    encoder = kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if encoder or kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise HarnessError(
            f"{what} writes no texts: {config.model_type} is an architecture of encoders. Name a decoder (such as "
            "Llama, Qwen or GPT-2) or an encoder with a decoder (such as T5): model=gpt2, model=t5-base, or "
            "model=own model.path=DIRECTORY."
        )
    return AutoModelForCausalLM


def _extras(pooling: str, classes: int, pooler: bool = True) -> dict[str, Any]:
    if pooling == "model":
        return {"num_labels": classes}
    if pooling == BOXES:  # a detector counts its classes, and has no option for a pooling layer
        return {"num_labels": classes} | ({"add_pooling_layer": False} if pooler else {})
    return {"add_pooling_layer": False} if pooler and pooling not in (LANGUAGE, "pooler") else {}


def _from_pretrained(kind: Any, path: Path, options: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    loaded: tuple[nn.Module, dict[str, Any]] = kind.from_pretrained(
        str(path),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
        # `check_fit` reports mismatched shapes, with their names.
        ignore_mismatched_sizes=True,
        **options,
    )
    return loaded
