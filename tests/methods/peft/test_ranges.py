"""Fields of PEFT's configurations out of range are told before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest

from harness.methods.peft.ranges import out_of_range

Main = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("config", "field", "rule"),
    [
        (peft.LoraConfig(r=0), "r", "above 0"),
        (peft.LoraConfig(r=8.0), "r", "whole number"),  # type: ignore[arg-type]  # as a user may write it
        (peft.LoraConfig(lora_dropout=-0.1), "lora_dropout", "lie in [0, 1)"),
        (peft.LoraConfig(lora_dropout=1.0), "lora_dropout", "lie in [0, 1)"),
        (peft.LoraConfig(lora_alpha=0), "lora_alpha", "above 0"),
        (peft.LoraConfig(rank_pattern={"query": 0}), "rank_pattern", "above 0"),
        (peft.OFTConfig(module_dropout=1.5), "module_dropout", "lie in [0, 1)"),
        (peft.OFTConfig(oft_block_size=-1), "oft_block_size", "0 or more"),
        (peft.PrefixTuningConfig(num_virtual_tokens=0), "num_virtual_tokens", "above 0"),
        (peft.VeraConfig(vera_dropout=2.0, r=-4), "r", "above 0"),
    ],
)
def test_what_is_out_of_range_is_named(config: Any, field: str, rule: str) -> None:
    """PEFT itself accepts some of these, and the adapter then trains nothing."""
    assert any(f"method.config.{field}" in message and rule in message for message in out_of_range(config))


def test_defaults_are_in_range() -> None:
    """PEFT's own defaults, an OFT of either size, and a rank that layers override."""
    for config in (peft.LoraConfig(rank_pattern={"query": 4}), peft.OFTConfig(), peft.OFTConfig(r=8, oft_block_size=0),
                   peft.BOFTConfig(), peft.AdaLoraConfig(total_step=10)):  # fmt: skip
        assert list(out_of_range(config)) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("method.config.r=0", "method.config.r must be above 0, not 0."),
        ("method.config.r=0,4", "method.config.r must be above 0, not 0 (of method.config.r=0,4)."),
        ("method.config.lora_dropout=interval(0,1)", "must lie in [0, 1), not 1.0"),
    ],
)
def test_a_study_is_told_at_the_start(main: Main, value: str, says: str) -> None:
    """Fixed, as a choice, as an end of an interval."""
    code, printed = main("-m", "method=lora", value, "plan=true", "calibrate=false")
    assert code == 2
    assert says in printed
