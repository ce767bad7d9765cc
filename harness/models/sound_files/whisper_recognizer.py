"""Whisper with its decoder (Radford et al. 2022, arXiv:2212.04356), for windows of any length up to 30 seconds.

The encoder takes the first rows of the position table, see `WhisperSoundEncoder`; over the whole 30 seconds the model
is transformers' own.
"""

from __future__ import annotations

from typing import Any

from transformers import WhisperForConditionalGeneration

from harness.models.sound_files.whisper_encoder import WhisperSoundEncoder


class WhisperRecognizer(WhisperForConditionalGeneration):  # type: ignore[no-untyped-call]  # transformers gives no types
    """The whole model, with an encoder for short windows."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.encoder = WhisperSoundEncoder(config)
        self.post_init()  # type: ignore[no-untyped-call]  # as above
