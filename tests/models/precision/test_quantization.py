"""bitsandbytes is imported where a base is quantized, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from harness.models.precision.quantization import import_peft, quantized

import_peft()
from peft import helpers, import_utils
assert "bitsandbytes" not in sys.modules and helpers.bnb is None and not import_utils.is_bnb_available()
import bitsandbytes  # whoever wants it has it
quantized("8bit")
assert helpers.bnb is bitsandbytes and import_utils.is_bnb_available() and import_utils.is_bnb_4bit_available()
from transformers.utils import is_bitsandbytes_available
assert is_bitsandbytes_available()
"""


def test_peft_is_imported_without_it_until_a_base_is_quantized() -> None:
    """In a process of its own, as imports happen once."""
    pytest.importorskip("bitsandbytes")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
