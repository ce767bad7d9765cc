"""The probe for sizes runs where and as the model computes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.models.image_files.image_pooling import use_layer, width_of_vectors

SHAPE = (3, 8, 8)


class Quantized(nn.Module):
    """A small network whose first parameter holds integers, as those of quantized weights do."""

    main_input_name = "pixel_values"
    config = SimpleNamespace(image_size=8, model_type="other")

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.zeros(4, dtype=torch.uint8, device=device), requires_grad=False)
        self.conv = nn.Conv2d(3, 5, 2, device=device, dtype=dtype)

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> Any:
        hidden = self.conv(pixel_values)
        return SimpleNamespace(last_hidden_state=hidden, hidden_states=(pixel_values, hidden))


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.bfloat16), ("meta", torch.float16)])
def test_probe_follows_floating_parameters(device: str, dtype: torch.dtype) -> None:
    """Their type and device, not those of the first parameter, nor a CPU's."""
    network = Quantized(device, dtype)
    assert width_of_vectors(network, "mean", SHAPE) == 5
    use_layer(network, 1, SHAPE, "the model")
    assert width_of_vectors(network, "mean", SHAPE) == 5
