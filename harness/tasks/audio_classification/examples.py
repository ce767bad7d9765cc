"""Sounds of a split as waveforms, and batches of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.data.examples import Batch, Examples, Rows
from harness.models.sound_files.sound_pooling import SAMPLES, SOUND, WINDOWS


@dataclass(frozen=True)
class SoundExamples(Examples):
    """Rows whose tokens are samples: `tokens.ids` is (total,) float32, at the model's sampling rate.

    Attributes:
        processor: the model's `SoundProcessor`.
        window: seconds to which every sound is padded with silence; None: each to a window of its own.
    """

    processor: Any = None
    window: float | None = None

    def digest(self) -> str:
        """Return the SHA-256 of the samples and of how the model reads them as hex digits."""
        content = hashlib.sha256(self.tokens.offsets.tobytes() + self.processor.key.encode())
        for start in range(0, len(self.tokens.ids), 1 << 22):  # in parts: mapped files may be larger than memory
            content.update(np.ascontiguousarray(self.tokens.ids[start : start + (1 << 22)]).tobytes())
        return content.hexdigest()

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        """Return the given rows as the model's input, with their lengths; see `SoundProcessor.inputs`."""
        offsets, samples = self.tokens.offsets, self.tokens.lengths[rows]
        waveforms = [np.array(self.tokens.ids[offsets[row] : offsets[row + 1]], np.float32) for row in rows]
        padded = samples
        if self.window is not None:
            padded = np.maximum(samples, round(self.window * self.processor.sampling_rate))
            waveforms = [np.pad(each, (0, size - len(each))) for each, size in zip(waveforms, padded, strict=True)]
        arrays: dict[str, npt.NDArray[Any]] = {
            SOUND: self.processor.inputs(waveforms), SAMPLES: samples, WINDOWS: self.processor.window(padded),
        }  # fmt: skip
        return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}
