"""The generated speech task: keys of a telephone, pressed one after another; needs no download and no file.

It is no speech: each digit is a pair of tones (DTMF, ITU-T Q.23), in noise. A recognizer has to be tuned for it, so the
task shows that training works, and nothing about voices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.readers.rows import SPLITS
from harness.data.sounds import ArraySound, Samples
from harness.errors import Problems
from harness.tasks.labeled_files import LabeledFiles
from harness.tasks.speech_recognition.normalizers import DIGITS
from harness.tasks.speech_recognition.settings import SpeechSettings

RATE = 8_000  # Hz, of telephones
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)  # Hz of the keys
KEYS = "123456789*0#"


@dataclass(kw_only=True)
class DemoSpeech(SpeechSettings):
    """Generated strings of keys. The same fields give the same sounds on every machine."""

    train_strings: int = 120
    validation_strings: int = 30
    test_strings: int = 60
    least_digits: int = 2  # of a string
    most_digits: int = 4
    noise: float = 0.3  # standard deviation of the noise, as a share of that of the tones
    data_seed: int = 0  # of the sounds

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        counts = {f"{split}_strings": 2 for split in SPLITS}
        return super().least_values() | counts | {"least_digits": 1, "most_digits": 1, "data_seed": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        before = len(problems.messages)
        super().check(problems)
        holds = isinstance(self.noise, int | float) and not isinstance(self.noise, bool) and 0 <= self.noise < 10
        problems.check(holds, f"task.noise must lie in [0, 10), not {self.noise!r}.")
        if len(problems.messages) == before:
            problems.check(
                self.least_digits <= self.most_digits <= 20,
                f"task.most_digits={self.most_digits} must lie between task.least_digits={self.least_digits} and 20.",
            )

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Generate the three splits."""
        return {split: self._split(split) for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _split(self, split: str) -> LabeledFiles:
        draw, table = np.random.default_rng([self.data_seed, SPLITS.index(split)]), LabeledFiles([], [], [])
        for row in range(getattr(self, f"{split}_strings")):
            digits = draw.integers(0, 10, draw.integers(self.least_digits, self.most_digits + 1)).tolist()
            table.sources.append(ArraySound(self._sound(digits, draw), RATE))
            table.names.append(f"{split} {row}")
            table.labels.append(" ".join(DIGITS[digit] for digit in digits))
        return table

    def _sound(self, digits: list[int], draw: np.random.Generator) -> Samples:
        parts = [np.zeros(round(0.05 * RATE))]
        for digit in digits:
            place = KEYS.index(str(digit))
            time = np.arange(round(draw.uniform(0.15, 0.25) * RATE)) / RATE
            tones = (ROWS[place // 3], COLUMNS[place % 3])
            waves = [np.sin(2 * np.pi * (tone * time + draw.uniform())) for tone in tones]
            parts.append(np.sum(waves, axis=0))
            parts.append(np.zeros(round(draw.uniform(0.08, 0.15) * RATE)))
        signal = np.concatenate(parts)
        noisy = signal + self.noise * draw.normal(0, 1, len(signal))
        made: Samples = (0.3 * draw.uniform(0.3, 1) * noisy / np.abs(noisy).max()).astype(np.float32)
        return made
