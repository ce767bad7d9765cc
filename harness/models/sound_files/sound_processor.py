"""How waveforms become a model's input: feature extractors of transformers, without torchaudio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.models.sound_files.sound_architectures import FRAMES, PROCESSOR, SPECTROGRAM, WHISPER

STEP = 0.5  # seconds: a sound is padded with silence to a multiple, its window
RATE = 16_000  # Hz, of architectures whose files do not say
DEFAULTS = {WHISPER: "WhisperFeatureExtractor", SPECTROGRAM: "ASTFeatureExtractor"}
OTHERS = "Wav2Vec2FeatureExtractor"  # of architectures that read the waveform
WHISPERS, SPECTROGRAMS = DEFAULTS[WHISPER], DEFAULTS[SPECTROGRAM]

Samples = npt.NDArray[np.float32]


class SoundProcessor:
    """A feature extractor of transformers. It stands where a model for texts has its tokenizer.

    Each sound is padded to a window of its own, a multiple of half a second, whatever other sounds its batch holds; so
    its features do not depend on the batch.

    Args:
        settings: as in preprocessor_config.json.
        architecture: model_type that selects the class if the settings name none.
    """

    pad_token_id: int | None = None
    model_max_length = 1  # one sound a row
    text: Any = None  # tokenizer of what is said, of a model that writes it

    def __init__(self, settings: Mapping[str, Any], architecture: str | None) -> None:
        import transformers

        kind = str(settings.get("feature_extractor_type") or DEFAULTS.get(str(architecture), OTHERS))
        if kind not in (WHISPERS, SPECTROGRAMS, OTHERS):
            raise ValueError(f"feature_extractor_type {kind} is none of {WHISPERS}, {SPECTROGRAMS} and {OTHERS}")
        self.kind = kind
        left = ("feature_extractor_type", "processor_class", "image_processor_type", "mel_filters")
        self._extractor: Any = getattr(transformers, kind)(**{k: v for k, v in settings.items() if k not in left})
        self.sampling_rate = int(self._extractor.sampling_rate)
        if kind == WHISPERS and self._extractor.hop_length * FRAMES != self.sampling_rate:
            raise ValueError(f"hop_length {self._extractor.hop_length} makes no {FRAMES} frames a second")

    @property
    def key(self) -> str:
        """What inputs depend on besides the waveforms: all settings, as JSON."""
        return json.dumps([STEP, self._settings()], sort_keys=True, default=str)

    @property
    def masked(self) -> bool:
        """Whether the model was trained with masks that say where sounds end."""
        return bool(self.kind == OTHERS and self._extractor.return_attention_mask)

    @property
    def longest(self) -> float:
        """Seconds that the model reads at most; infinite without a limit."""
        if self.kind == WHISPERS:
            return float(self._extractor.chunk_length)
        return self._extractor.max_length / FRAMES if self.kind == SPECTROGRAMS else float("inf")

    def window(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of samples to which sounds of these numbers of samples (n,) are padded."""
        step = round(STEP * self.sampling_rate)
        return np.maximum(-(-samples // step), 1) * step

    def inputs(self, waveforms: Sequence[Samples]) -> npt.NDArray[np.float32]:
        """Make the input of n waveforms, padded to the largest window among them.

        Returns:
            (n, samples), or log-mel frames: (n, mels, frames) of Whisper, (n, frames, mels) of the Audio Spectrogram
            Transformer, always of its whole length.
        """
        widest = int(self.window(np.array([len(each) for each in waveforms])).max())
        if self.kind == SPECTROGRAMS:
            # A frame takes 400 samples; shorter sounds have none.
            shortest = round(0.05 * self.sampling_rate)
            padded = [np.pad(each, (0, max(0, shortest - len(each)))) for each in waveforms]
            made = self._extractor(padded, sampling_rate=self.sampling_rate, return_tensors="np")
            return np.asarray(made["input_values"], np.float32)
        if self.kind == WHISPERS:
            # Frames at the end reflect the signal there; a margin keeps them beyond the window.
            longest = widest + self._extractor.n_fft
            made = self._extractor(
                list(waveforms), sampling_rate=self.sampling_rate, padding="max_length", max_length=longest,
                return_tensors="np",
            )  # fmt: skip
            frames = widest // self._extractor.hop_length
            return np.ascontiguousarray(np.asarray(made["input_features"], np.float32)[..., :frames])
        values = np.zeros((len(waveforms), widest), np.float32)
        for row, each in enumerate(waveforms):
            made = self._extractor(each, sampling_rate=self.sampling_rate, padding=False, return_tensors="np")
            values[row, : len(each)] = np.asarray(made["input_values"], np.float32).reshape(-1)
        return values

    def save_pretrained(self, directory: str) -> None:
        """Write preprocessor_config.json, and the files of the tokenizer if there is one."""
        text = json.dumps(self._settings(), indent=2, sort_keys=True, default=str) + "\n"
        (Path(directory) / PROCESSOR).write_text(text, encoding="utf-8")
        if self.text is not None:
            self.text.save_pretrained(directory)

    def _settings(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._extractor.to_json_string())
        return {key: value for key, value in found.items() if key not in ("mel_filters", "window")}


def load_sound_processor(path: Path, source: str, architecture: str | None, own: Mapping[str, Any]) -> SoundProcessor:
    """Load the feature extractor of a model.

    Args:
        path: the model's directory.
        source: of the model, for messages.
        architecture: its model_type.
        own: what the model's YAML says in place of its files: sampling_rate.

    Raises:
        HarnessError: neither the files nor the YAML say which sampling rate it reads, or the settings do not fit.
    """
    file = path / PROCESSOR
    try:
        settings = dict[str, Any](json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"{file} cannot be read ({error}): fetch or save the model again.") from None
    if not settings and not own.get("sampling_rate"):
        raise HarnessError(
            f"The model at {path} ({source}) has no {PROCESSOR}, which says how sounds become its input. Fetch it with "
            f"the model, or set model.sampling_rate={RATE}, as it was trained."
        )
    given, said = own.get("sampling_rate"), settings.get("sampling_rate")
    if given and said and given != said:
        raise HarnessError(
            f"model.sampling_rate={given}, and {PROCESSOR} of the model at {path} ({source}) says {said}: set it to "
            "null. Sounds of other rates are resampled to it."
        )
    try:
        settings["sampling_rate"] = int(given or said or RATE)
        processor = SoundProcessor(settings, architecture)
        processor.inputs([np.zeros(processor.sampling_rate // 2, np.float32)])
    except Exception as error:  # noqa: BLE001 -- extractors raise errors of several kinds for settings that do not fit
        raise HarnessError(
            f"The feature extractor of the model at {path} ({source}) does not work: {error}. Correct {PROCESSOR}, or "
            "model.sampling_rate."
        ) from None
    return processor
