"""Folders of short sounds; imports no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def folders(root: Path, count: int = 12, classes: tuple[str, ...] = ("high", "low"), rate: int = 8_000) -> Path:
    """Write a folder a class with tones of 0.1 to 0.3 seconds; how high one is tells its class."""
    draw = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            time = np.arange(round(draw.uniform(0.1, 0.3) * rate)) / rate
            pitch = draw.uniform(900, 1500) / 2 ** (2 * place)
            tone = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * draw.normal(size=len(time))
            soundfile.write(root / name / f"{number:02d}.wav", tone, rate)
    return root
