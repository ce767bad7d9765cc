"""Check that loaded weights fit the architecture in config.json, from the loading report of transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from harness.errors import HarnessError
from harness.models.files.model_files import names
from harness.models.heads import CLASS_HEADS
from harness.models.image_files.image_architectures import BOXES

# Tensors that training creates (heads, some poolers), and tensors saved by older versions that are no weights.
_HEADS = re.compile(
    r"(^|\.)(cls|lm_head|generator_lm_head|score|classifier|classification_head|qa_outputs|logits_proj|pooler|pooling"
    r"|predictions?|head|heads?|vocab_\w+|pred_layer|lm_predictions|mask_predictions|discriminator_predictions"
    r"|generator_predictions|quantizer|project_hid|project_q|final_logits_bias|position_ids|inv_freq|masked_bias|attn\.bias|attention\.bias|embed_out)"
    r"(\.|$)"
)
_PREFIXES = {
    "_orig_mod.": "torch.compile: save the model that it wraps, model._orig_mod.save_pretrained(...)",
    "module.": "DataParallel: save the model that it wraps, model.module.save_pretrained(...)",
    "base_model.model.": "PEFT: save model.merge_and_unload()",
    "state_dict.": "Lightning: save the module's own model by save_pretrained",
    "model.": "a module around it, such as Lightning's: save model.model.save_pretrained(...)",
}


def check_fit(backbone: Any, info: dict[str, Any], pooling: str, what: str) -> None:
    """Check that all weights of a backbone were loaded from its files, with matching shapes.

    Args:
        backbone: as loaded by transformers.
        info: its `output_loading_info`.
        pooling: the pooler may be new; with `model`, the head as well.
        what: name of the model in messages.

    Raises:
        HarnessError: some weights were not; at most three are named.
    """
    wrong = [
        f"{name} is {_shape(found)} in the file and {_shape(wanted)} by config.json"
        for name, found, wanted in sorted(info["mismatched_keys"], key=lambda each: str(each[0]))
        if not _is_head(str(name), backbone, pooling)
    ]
    if wrong:
        raise HarnessError(
            f"{what}: the weights have other shapes than config.json says: {names(wrong)}. They are of another model "
            "than config.json: fetch or save the two that belong together."
        )
    missing = sorted(name for name in info["missing_keys"] if _counts(name, backbone, pooling))
    if missing:
        total = len(backbone.state_dict())
        raise HarnessError(
            f"{what}: the files lack {len(missing)} of the {total} tensors that its architecture "
            f"({backbone.config.model_type}) has, which would be random: {names(missing)}. "
            f"{_cause(missing, sorted(info['unexpected_keys']), total)}"
        )


def notes(backbone: Any, info: dict[str, Any], what: str, encoder_only: bool) -> list[str]:
    """Report unused tensors of the files, except those of heads and, for an encoder alone, of its decoder."""
    unused = sorted(
        name
        for name in info["unexpected_keys"]
        if not _HEADS.search(name) and not (encoder_only and name.startswith(("decoder.", "lm_head.")))
    )
    if not unused:
        return []
    return [f"{what}: {len(unused)} tensors of its files are not used: {names(unused)}."]


def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], what: str) -> None:
    """Check that weights have no NaN or infinite values.

    Raises:
        HarnessError: some have; at most three tensors are named.
    """
    broken = [
        name
        for name, tensor in tensors
        # A sum is cheap; it may overflow although all values are finite.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float32)) and not _finite(tensor)
    ]
    if broken:
        raise HarnessError(
            f"{what}: there are NaN or infinite values in {len(broken)} of its tensors: {names(broken)}. The files "
            "themselves are damaged, so no precision or learning rate helps: fetch or save the model again."
        )


def _finite(tensor: torch.Tensor) -> bool:
    return bool(torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor).all())


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _is_head(name: str, backbone: Any, pooling: str) -> bool:
    """Return whether a parameter belongs to the architecture's own head, which each run initializes."""
    if pooling == BOXES:
        return any(part in CLASS_HEADS for part in name.split("."))
    base = backbone.base_model
    return pooling == "model" and base is not backbone and not name.startswith(f"{backbone.base_model_prefix}.")


def _counts(name: str, backbone: Any, pooling: str) -> bool:
    # The vector of masked spans is used in pretraining alone, and fine-tuned models are saved without it.
    if _is_head(name, backbone, pooling) or "pooler" in name.split(".") or name.endswith("masked_spec_embed"):
        return False
    # Counters and masks that the architecture computes itself.
    buffers: dict[str, torch.Tensor] = dict(backbone.named_buffers())
    return not (name in buffers and (not buffers[name].is_floating_point() or name.endswith("inv_freq")))


def _cause(missing: Sequence[str], unexpected: Sequence[str], total: int) -> str:
    """Return the most likely cause and its remedy."""
    if adapted := [
        name for name in unexpected if ".base_layer." in name or ".lora_" in name or ".modules_to_save." in name
    ]:
        return f"It is a PEFT model that was not merged ({adapted[0]}): save model.merge_and_unload()."
    if prefix := _prefix(missing, unexpected):
        known = next((why for start, why in _PREFIXES.items() if prefix.startswith(start)), None)
        return (
            f"The files' names begin with `{prefix}`, as of {known}; or take the prefix off."
            if known
            else f"The files' names begin with `{prefix}`: take it off, or save the model by its own save_pretrained."
        )
    if len(missing) == total or sum(not _HEADS.search(name) for name in unexpected) >= len(missing):
        held = f" (they hold {names(unexpected)})" if unexpected else ""
        return f"The weights are of another architecture{held}: config.json's model_type must be that of the weights."
    return (
        "The file is incomplete, or config.json describes a larger model: fetch or save the two that belong together."
    )


def _prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str | None:
    """Return the prefix of the names in the files, if it explains most missing names."""
    # The first may be missing for a reason of its own, such as a head that shares the weights of the embedding.
    found = {name.removesuffix(one) for one in missing[:3] for name in unexpected if name.endswith(f".{one}")}
    held = frozenset(unexpected)
    for prefix in sorted(found):
        if 2 * sum(f"{prefix}{name}" in held for name in missing) > len(missing):
            return prefix
    return None
