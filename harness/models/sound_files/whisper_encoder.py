"""Whisper's encoder (Radford et al. 2022, arXiv:2212.04356) for inputs of any length up to the model's 30 seconds.

transformers' encoder takes 30 seconds, whatever was said; the rest is silence that costs as much as speech. This one
takes the first rows of the position table, as many as the input has, so a sound of half a second costs a sixtieth. Its
outputs differ from those after padding to 30 seconds, on which the model was trained: every position then also attends
to the silence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

# Names in files of the whole model, to those of the encoder alone.
KEYS = {r"^(model\.)?encoder\.": ""}
DECODER = ("model.decoder.", "decoder.", "proj_out.")  # tensors of the files that the encoder does not use


class WhisperSoundEncoder(WhisperEncoder):  # type: ignore[no-untyped-call]  # transformers gives no types
    """The encoder, whose forward pass takes any number of frames up to that of the position table."""

    def forward(self, input_features: Tensor, output_hidden_states: bool = False, **others: Any) -> BaseModelOutput:
        """Return vectors (n, frames / 2, d) of log-mel frames (n, mels, frames)."""
        hidden = functional.gelu(self.conv1(input_features))
        hidden = functional.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        hidden = functional.dropout(hidden, p=self.dropout, training=self.training)
        states = [hidden]
        for block in self.layers:
            if self.training and self.layerdrop > 0 and float(torch.rand([])) < self.layerdrop:
                continue
            hidden = block(hidden, None)
            states.append(hidden)
        return BaseModelOutput(
            last_hidden_state=self.layer_norm(hidden), hidden_states=tuple(states) if output_hidden_states else None
        )

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        return self.layers

    def end_after(self, block: int) -> None:
        """Remove the layers after a block, counted from 1: neither computed, nor trained, nor counted."""
        self.layers = self.layers[:block]
        self.layer_norm = nn.Identity()  # type: ignore[assignment]  # in its place
