"""Ranges of the fields of PEFT's configurations.

PEFT looks at most of them when it wraps a model, and accepts some that train nothing or break later (release 0.21: a
negative dropout, `lora_alpha=0`, `module_dropout=1.5`). Here they are checked before any run starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

# Whole numbers of which there must be at least one.
COUNTS = (
    "r", "init_r", "target_r", "mini_r", "deltaT", "n_frequency", "group_size", "block_size", "boft_n_butterfly_factor",
    "u", "theta_d_length", "num_vectors", "vector_length", "topk", "stride_A", "num_B", "gralora_k", "num_subspaces",
    "subspace_rank", "num_virtual_tokens", "encoder_hidden_size", "encoder_num_layers", "num_cayley_neumann_terms",
    "qalora_group_size", "asa_target_subspaces", "total_step", "effective_rank",
)  # fmt: skip
COUNTS_OR_NONE = ("depth", "hybrid_r", "num_frozen_tokens", "oft_block_size", "boft_block_size", "boft_block_num")
FACTORS = (  # at 0 the adapter adds nothing, and gets no gradient
    "lora_alpha", "alpha", "psoft_alpha", "randlora_alpha", "delora_lambda", "scaling", "d_initial",
)  # fmt: skip
FRACTIONS = ("sparsity",)  # and whatever ends in dropout
PATTERNS = ("rank_pattern", "alpha_pattern")


def out_of_range(config: Any, where: str = "method.config") -> Iterator[str]:
    """Yield a message for each field of a PEFT configuration that is out of range.

    Args:
        config: a `peft.PeftConfig`.
        where: its key.
    """
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in PATTERNS and isinstance(value, Mapping):
            for layer, number in value.items():
                if not number > 0:
                    yield f"{where}.{name}: the value of {layer} must be above 0, not {number}."
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        counts = name in (*COUNTS, *COUNTS_OR_NONE) and "float" not in str(field.type)  # some take a share as well
        whole = isinstance(value, int) or not counts
        if rule := _rule(name, value, config) if whole else "be a whole number":
            yield f"{where}.{name} must {rule}, not {value}."


def _rule(name: str, value: float, config: Any) -> str | None:
    """Return the rule that a value breaks; None if it breaks none."""
    if name == "r" and getattr(config, "oft_block_size", None):  # OFT takes either
        return None if value >= 0 else "be 0 or more"
    if name.endswith("dropout") or name in FRACTIONS:
        return None if 0 <= value < 1 else "lie in [0, 1)"
    if name == "sparse_rate":
        return None if 0 < value <= 1 else "lie in (0, 1]"
    if name in COUNTS or name in FACTORS:
        return None if value > 0 else "be above 0"
    if name in COUNTS_OR_NONE:
        return None if value >= 0 else "be 0 or more"
    return None
