"""The generated sound task: tones, chirps and noises; needs no download and no file.

A class is how frequency and loudness move in time, since pitch, length and loudness are drawn anew for each sound.
Noise and a share of wrong labels keep every score below 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.readers.rows import SPLITS
from harness.data.sounds import ArraySound, Samples
from harness.errors import Problems
from harness.tasks.audio_classification.settings import SoundTask
from harness.tasks.labeled_files import LabeledFiles

CLASSES = ("falling", "noise", "pulses", "rising", "tone", "tremolo")
RATE = 16_000  # Hz


@dataclass(kw_only=True)
class DemoSounds(SoundTask):
    """Generated sounds of six kinds. The same fields give the same sounds on every machine."""

    train_per_class: int = 40  # training sounds of a class
    validation_per_class: int = 15
    test_per_class: int = 40
    seconds: float = 0.5  # length; each sound has from 60 to 100 % of it
    noise: float = 0.5  # standard deviation of the noise, as a share of that of the sound
    label_noise: float = 0.03  # share of rows with the label of another class
    data_seed: int = 0  # of the sounds

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        counts = {"train_per_class": 1, "validation_per_class": 1, "test_per_class": 1}
        return super().least_values() | counts | {"data_seed": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for name, low, high in (("noise", 0, 10), ("label_noise", 0, 1), ("seconds", 0.1, 10)):
            value = getattr(self, name)
            holds = isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high
            problems.check(holds, f"task.{name} must lie in [{low}, {high}), not {value!r}.")

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Generate the three splits."""
        return {split: self._split(split) for split in SPLITS}, f"generated, seed {self.data_seed}"

    def _split(self, split: str) -> LabeledFiles:
        draw = np.random.default_rng([self.data_seed, SPLITS.index(split)])
        kinds = [kind for kind in CLASSES for _ in range(getattr(self, f"{split}_per_class"))]
        sounds = [ArraySound(self._sound(kind, draw), RATE) for kind in kinds]
        labels = list(kinds)
        for row in np.flatnonzero(draw.random(len(labels)) < self.label_noise).tolist():
            labels[row] = str(draw.choice([kind for kind in CLASSES if kind != kinds[row]]))
        order = draw.permutation(len(labels)).tolist()
        names = [f"{split} {row}" for row in range(len(order))]
        return LabeledFiles([sounds[row] for row in order], names, [labels[row] for row in order])

    def _sound(self, kind: str, draw: np.random.Generator) -> Samples:
        count = round(self.seconds * RATE * draw.uniform(0.6, 1))
        time = np.arange(count) / count  # from 0 to 1
        pitch, factor = draw.uniform(300, 1200), draw.uniform(1.5, 2.5)
        if kind == "noise":
            signal = draw.normal(0, 1, count)
        else:
            change = {"rising": factor**time, "falling": factor**-time}.get(kind, np.ones(count))
            phase = 2 * np.pi * np.cumsum(pitch * change) / RATE
            signal = np.sin(phase + draw.uniform(0, 2 * np.pi))
        beats = draw.uniform(8, 16) * self.seconds
        if kind == "tremolo":
            signal = signal * (0.5 + 0.5 * np.sin(2 * np.pi * beats * time))
        if kind == "pulses":
            signal = signal * (np.modf(beats * time)[0] < 0.3)
        noisy = signal + self.noise * signal.std() * draw.normal(0, 1, count)
        made: Samples = (0.3 * draw.uniform(0.3, 1) * noisy / np.abs(noisy).max()).astype(np.float32)
        return made
