"""Audio classification in training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from harness.api.metric import Predictions
from harness.data.dataset import Split
from harness.data.examples import Examples
from harness.data.sounds import ArraySound, SoundSource, open_all, received_sound
from harness.data.tokenization import Encoding, Tokens
from harness.tasks.audio_classification.clips import clips
from harness.tasks.audio_classification.data import SoundData
from harness.tasks.audio_classification.examples import SoundExamples
from harness.tasks.audio_classification.serving import read_sounds
from harness.tasks.text_classification.runtime import TextClassificationRuntime


@dataclass(frozen=True)
class AudioClassificationRuntime(TextClassificationRuntime):
    """As for texts, outputs are logits (n, C), targets class indices (n,), predictions class probabilities (n, C).

    Attributes:
        seconds: of longer sounds, what follows is left out.
        sounds, names: see `SoundData`; empty for a saved model, which is given paths.
    """

    family: ClassVar[str] = "audio_classification"

    seconds: float = 10.0
    sounds: Mapping[str, SoundSource] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_data(cls, data: SoundData) -> Self:  # type: ignore[override]  # the data of its own family
        """See `TaskRuntime`."""
        return cls(data.labels, (), data.seconds, data.sounds, data.names)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls(tuple(facts["labels"]), (), float(facts["max_seconds"]))

    def facts(self) -> dict[str, Any]:
        """Return the class names, and the seconds that are read of a sound."""
        return {**super().facts(), "max_seconds": self.seconds}

    def described(self) -> None:  # type: ignore[override]  # classes are not described to a model that reads no texts
        """Return nothing: these models read no texts that could describe a class."""
        return

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """Decode sounds and resample them to the model's rate; what it does not read of a long one is left out."""
        rate, seconds = tokenizer.sampling_rate, min(self.seconds, tokenizer.longest)
        return Encoding(f"sounds 1 {rate} {seconds:g}", lambda split: self._encode(split, rate, seconds))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join a split's sounds and targets."""
        return SoundExamples(tokens, split.targets, 0, processor=tokenizer)

    def received(self, data: bytes, processor: Any, pixels: int, seconds: float) -> ArraySound:
        """Decode and resample a sound; see `TaskRuntime`."""
        return received_sound(data, processor.sampling_rate, min(self.seconds, processor.longest), seconds)

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what is stored of texts, the names of the sounds, and clips of the worst test rows."""
        columns, metadata = super().stored(split, predictions)
        columns["audio"] = [self.names.get(each, each) for each in split.texts]
        worst: list[int] = []
        if split.name == "test":
            right = predictions[np.arange(len(split)), split.targets]
            missed = np.flatnonzero(predictions.argmax(axis=1) != split.targets)
            worst = missed[np.argsort(right[missed], kind="stable")].tolist()
        columns["clip"] = clips(split.texts, worst, self.sounds, self.seconds)
        return columns, metadata

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Any, list[list[str]]]:
        """Read a folder of sounds, one sound, or a table with a column of paths; see `TaskRuntime`."""
        return read_sounds(file, columns, how)

    def _encode(self, split: Split, rate: int, seconds: float) -> Tokens:
        waveforms = open_all(split.texts, self.sounds, rate, seconds)
        # The type of token ids is that of texts; here they are samples.
        samples: Any = np.concatenate(waveforms)
        offsets = np.cumsum([0, *map(len, waveforms)], dtype=np.int64)
        return Tokens(ids=samples, offsets=offsets, types=None, truncated=0)
