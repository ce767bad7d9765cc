"""Base weights in fewer bits, by bitsandbytes, which only processes that quantize import."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import torch

from harness.errors import HarnessError

NAME = "bitsandbytes"

logging.getLogger(NAME).setLevel(logging.ERROR)  # it warns about kernels that only some machines have


def import_peft() -> None:
    """Import PEFT without bitsandbytes, which it imports wherever that is installed.

    That takes a quarter of the start of a worker (docs/decisions/bitsandbytes-on-demand.md). Afterwards others can
    import bitsandbytes as before, and `quantized` lets PEFT find it again.
    """
    if "peft" in sys.modules or NAME in sys.modules:
        return
    sys.modules[NAME] = None  # type: ignore[assignment]  # to an import statement, a package that is not installed
    try:
        checks = importlib.import_module("peft.import_utils")
        checks.is_bnb_available()  # PEFT remembers the answers
        checks.is_bnb_4bit_available()
    finally:
        del sys.modules[NAME]


def quantized(kind: str) -> dict[str, Any]:
    """Return the options of `from_pretrained` that quantize the base weights.

    Args:
        kind: 4bit | 8bit, see `ResolvedModel.quantize`.

    Raises:
        HarnessError: this machine cannot train on such weights.
    """
    if kind == "4bit" and not torch.cuda.is_available():
        # On some CPUs bitsandbytes repacks 4-bit weights into a form without gradients, and does not reverse this.
        raise HarnessError("model.quantize=4bit needs a CUDA GPU, and there is none. Use model.quantize=8bit or null.")
    _show()
    from transformers import BitsAndBytesConfig

    config: Any = BitsAndBytesConfig
    made = (
        config(load_in_8bit=True)
        if kind == "8bit"
        else config(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    )
    return {"quantization_config": made, "device_map": {"": 0 if torch.cuda.is_available() else "cpu"}}


def _show() -> None:
    """Import bitsandbytes, and let PEFT find it."""
    found = importlib.import_module(NAME)
    checks = importlib.import_module("peft.import_utils")
    checks.is_bnb_available.cache_clear()
    checks.is_bnb_4bit_available.cache_clear()
    importlib.import_module("peft.helpers").bnb = found  # type: ignore[attr-defined]  # what its own import would set
