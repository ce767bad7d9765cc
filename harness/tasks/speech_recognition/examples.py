"""Sounds with the tokens of their transcripts, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.data.examples import Batch, Rows
from harness.models.language.language_model import IGNORED
from harness.models.speech.speech_model import DECODER_INPUTS, LABELS
from harness.tasks.audio_classification.examples import SoundExamples
from harness.tasks.speech_recognition.transcripts import TranscriptEncoder
from harness.tasks.text_generation.examples import padded


@dataclass(frozen=True)
class SpeechExamples(SoundExamples):
    """Sounds and transcripts.

    Attributes:
        encoder: tokenized the transcripts.
        labels: of each row, the tokens of its transcript.
        frames: (n,) vectors that a model of CTC makes of each sound; None of a decoder.
        scored: whether the likelihood of the transcripts is computed in predictions.
        written: whether predictions hold texts.
    """

    encoder: TranscriptEncoder | None = None
    labels: tuple[npt.NDArray[np.int64], ...] = ()
    frames: npt.NDArray[np.int64] | None = None
    scored: bool = True
    written: bool = False

    def weight(self, rows: Rows) -> int:
        """Return the number of tokens of the transcripts: each has the same weight in the loss of a step."""
        return sum(len(self.labels[row]) for row in rows)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows as a batch; see `SpeechModel.forward`."""
        assert self.encoder is not None
        prefix = np.array(self.encoder.prefix, dtype=np.int64)
        chosen = [self.labels[row] for row in rows]
        found = super().batch(rows, device)
        if not self.encoder.decodes:
            return found | {LABELS: torch.from_numpy(padded(chosen, IGNORED)).to(device, non_blocking=True)}
        # The decoder reads the prefix and each token, and writes the tokens and the end; nothing within the prefix.
        before = np.full(len(prefix) - 1, IGNORED, dtype=np.int64)
        arrays = {
            LABELS: padded([np.concatenate([before, row]) for row in chosen], IGNORED),
            DECODER_INPUTS: padded([np.concatenate([prefix, row[:-1]]) for row in chosen], int(prefix[0])),
        }
        return found | {name: torch.from_numpy(each).to(device, non_blocking=True) for name, each in arrays.items()}
