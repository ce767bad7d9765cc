"""Speech recognition in training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from harness.api.metric import Metric, Predictions
from harness.config.schema import TrainConfig
from harness.data.dataset import Split
from harness.data.examples import Examples, by_length
from harness.data.sounds import ArraySound, SoundSource, open_all, received_sound
from harness.data.tokenization import Encoding, Tokens
from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.models.inference import autocast, predict_all
from harness.models.network import AdaptedModel
from harness.models.speech.speech_model import SpeechModel
from harness.models.speech.transcription import transcribe
from harness.tasks.audio_classification.clips import clips
from harness.tasks.audio_classification.serving import read_sounds
from harness.tasks.runtime import TaskRuntime
from harness.tasks.speech_recognition.alignment import aligned_text, errors_of
from harness.tasks.speech_recognition.data import Speech, SpeechData
from harness.tasks.speech_recognition.examples import SpeechExamples
from harness.tasks.speech_recognition.metrics import metrics_of
from harness.tasks.speech_recognition.transcripts import TranscriptEncoder
from harness.tasks.text_generation.data import WRITTEN, Conversation, GenerationSplit, Writing, split_of
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.runtime import TextGenerationRuntime

BEYOND = 0.25  # seconds: how much more than the window is decoded, to know that a sound is longer


@dataclass(frozen=True)
class SpeechRecognitionRuntime(TextGenerationRuntime):
    """As of text generation, outputs (n, 2) are sums of losses and numbers of tokens, predictions records (`WRITTEN`).

    Attributes:
        speech: see `Speech`.
        sounds, names: see `SpeechData`; empty for a saved model, which is given paths.
    """

    family: ClassVar[str] = "speech_recognition"

    speech: Speech | None = None
    sounds: Mapping[str, SoundSource] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_data(cls, data: SpeechData) -> Self:  # type: ignore[override]  # the data of its own family
        """See `TaskRuntime`."""
        return cls._of(data.speech, data.sounds, data.names)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls._of(Speech(**facts["speech"]), {}, {})

    @classmethod
    def _of(cls, speech: Speech, sounds: Mapping[str, SoundSource], names: Mapping[str, str]) -> Self:
        writing = Writing(decoding=Decoding(max_new_tokens=speech.most_tokens))
        return cls(writing, speech.metric, speech=speech, sounds=sounds, names=names)

    def facts(self) -> dict[str, Any]:
        """Return what a model needs to know of the task."""
        return {"speech": asdict(self._speech)}

    @property
    def _speech(self) -> Speech:
        assert self.speech is not None
        return self.speech

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The family's metrics, by the task's normalizer."""
        return metrics_of(self._speech.normalize)

    def network(self, backbone: nn.Module, pooling: str) -> AdaptedModel:
        """See `TaskRuntime`."""
        return SpeechModel(backbone)

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """Decode sounds and resample them to the model's rate; transcripts are tokenized with each batch's rows."""
        rate = tokenizer.sampling_rate
        return Encoding(f"speech 1 {rate}", lambda split: self._encode(split, rate, tokenizer.longest))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> SpeechExamples:
        """Join sounds and transcripts. Texts are written for test rows, and for validation rows if that selects."""
        assert isinstance(split, GenerationSplit)
        config: Any = backbone.config
        encoder = TranscriptEncoder(tokenizer.text, config, self._speech)
        labels = encoder.labels([row.completion for row in split.rows])
        measured = SpeechModel(backbone)
        frames = None if encoder.decodes else measured.frames(torch.from_numpy(tokens.lengths), 1 << 30).numpy()
        return SpeechExamples(
            tokens, split.targets, 0, processor=tokenizer,
            window=min(self._speech.window, tokenizer.longest) if encoder.decodes else None, encoder=encoder,
            labels=tuple(np.array(each, dtype=np.int64) for each in labels), frames=frames,
            written="train" not in split.name and (self.metric != "loss" or "validation" not in split.name),
        )  # fmt: skip

    def inputs(self, split: Split, tokenizer: Any, backbone: nn.Module, max_length: int) -> Examples:
        """See `TaskRuntime`."""
        examples = TaskRuntime.inputs(self, split, tokenizer, backbone, max_length)
        assert isinstance(examples, SpeechExamples)
        return replace(examples, scored=False, written=True)

    def trained_on(self, examples: Examples, config: TrainConfig, max_length: int) -> Examples:
        """Return the rows as they are."""
        return examples

    def asked(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Split:
        """Make a split of paths of sounds, or of sounds."""
        rows: list[Any] = [each if isinstance(each, ArraySound) else str(each) for each in texts]
        asked = [Conversation("", "")] * len(rows)
        return replace(split_of("predict", asked, [("",)] * len(rows), range(len(rows))), texts=rows)

    def received(self, data: bytes, processor: Any, pixels: int, seconds: float) -> ArraySound:
        """Decode and resample a sound, all of it: one that is too long for the model is refused; see `TaskRuntime`."""
        most = min(self._speech.window, processor.longest)
        return received_sound(data, processor.sampling_rate, most + BEYOND, seconds)

    def notes(self, examples: Examples, split: Split) -> list[str]:
        """Tell characters that a vocabulary lacks; check that transcripts fit the model.

        Raises:
            HarnessError: a transcript has more tokens than may be written, or than a model of CTC has frames.
        """
        assert isinstance(examples, SpeechExamples) and examples.encoder is not None
        assert isinstance(split, GenerationSplit)
        encoder, notes = examples.encoder, []
        lengths = [len(each) - encoder.decodes for each in examples.labels]
        shown = [self.names.get(each, each) for each in split.texts]
        if long := [f"{name} ({count})" for name, count in zip(shown, lengths, strict=True) if count > encoder.most]:
            raise HarnessError(
                f"{plural(len(long), f'{split.name} transcript')} of more than {encoder.most} tokens: {several(long)}. "
                f"Raise task.max_length={self._speech.most_tokens}, or, where the model writes no more, cut the sounds."
            )
        if examples.frames is not None:
            # Between two equal tokens CTC needs a blank.
            needed = [len(each) + int((each[1:] == each[:-1]).sum()) for each in examples.labels]
            if short := [
                name for name, count, most in zip(shown, needed, examples.frames, strict=True) if count > most
            ]:
                raise HarnessError(
                    f"{plural(len(short), f'{split.name} sound')} shorter than its transcript: the model writes at "
                    f"most a character each frame: {several(short)}. Correct the transcripts or the sounds."
                )
        if lacking := encoder.lacking([row.completion for row in split.rows]):
            named = several([f"{each!r} ({count})" for each, count in lacking.most_common()])
            notes.append(
                f"The model's vocabulary lacks {plural(sum(lacking.values()), 'character')} of {split.name} "
                f"transcripts: {named}. They are left out in training, and count as errors unless task.normalize "
                "removes them."
            )
        return notes

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Compute the likelihood of the transcripts, and write texts, for n rows."""
        assert isinstance(network, SpeechModel) and isinstance(examples, SpeechExamples)
        assert examples.encoder is not None
        encoder = examples.encoder
        found = np.zeros(len(examples), dtype=WRITTEN)
        found["text"], found["choices"] = None, None
        if examples.scored:
            sums = predict_all(network, examples, batch_size, device, precision)
            found["nll"], found["tokens"] = sums[:, 0], sums[:, 1]
        if examples.written:
            training = network.training
            network.eval()
            for rows in by_length(examples.tokens.lengths, batch_size):
                with autocast(device, precision):
                    written = transcribe(network, examples.batch(rows, device), encoder.prefix, encoder.most)
                for row, each in zip(rows.tolist(), written, strict=True):
                    found["text"][row] = encoder.text(each.tokens)
                    found["written"][row], found["cut"][row] = len(each.tokens), each.cut
            network.train(training)
        return found

    def usage(self, split: Split, predictions: Predictions, tokenizer: Any, backbone: nn.Module) -> dict[str, float]:
        """Return the mean number of tokens of an output."""
        if any(text is None for text in predictions["text"]):
            return {}
        return {"output_tokens": float(predictions["written"].mean())}

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return transcripts, outputs, names of the sounds, their errors, and clips of the worst test rows."""
        import pyarrow as pa

        texts = list(predictions["text"])
        columns: dict[str, Any] = {
            "label": [each[0] for each in split.targets],
            "audio": [self.names.get(each, each) for each in split.texts],
            "prediction": pa.array(texts, pa.string()),  # null where nothing was written
            "written_tokens": predictions["written"],
            "cut": predictions["cut"],
        }
        metadata = {"max_new_tokens": str(self._speech.most_tokens), "normalize": self._speech.normalize}
        if any(text is None for text in texts):  # of validation rows, where the loss selects
            nothing: Any = pa.nulls(len(split))
            columns |= {
                "errors": nothing.cast(pa.int64()), "words": nothing.cast(pa.int64()),
                "alignment": nothing.cast(pa.string()), "clip": nothing.cast(pa.binary()),
            }  # fmt: skip
            return columns, metadata
        said = [each[0] for each in split.targets]
        errors, words = errors_of(said, texts, self._speech.normalize)
        tests = split.name == "test"
        worst = [row for row in np.argsort(-errors, kind="stable").tolist() if errors[row] > 0] if tests else []
        columns |= {
            "errors": errors, "words": words, "alignment": aligned_text(said, texts, self._speech.normalize),
            "clip": clips(split.texts, worst, self.sounds, self._speech.window),
        }  # fmt: skip
        return columns, metadata

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Any, list[list[str]]]:
        """Read a folder of sounds, one sound, or a table with a column of paths; see `TaskRuntime`."""
        return read_sounds(file, columns, how)

    def _encode(self, split: Split, rate: int, longest: float) -> Tokens:
        most = min(self._speech.window, longest)
        waveforms = open_all(split.texts, self.sounds, rate, most + BEYOND)
        long = [
            self.names.get(name, name) if isinstance(name, str) else "the sound that was sent"
            for name, each in zip(split.texts, waveforms, strict=True)
            if len(each) > round(most * rate) + 1
        ]
        if long:
            raise HarnessError(
                f"{plural(len(long), 'sound')} longer than {most:g} seconds, the most that this model transcribes at "
                f"once: {several(long)}. Cut them where nobody speaks."
            )
        waveforms = [each[: round(most * rate)] for each in waveforms]
        # The type of token ids is that of texts; here they are samples.
        samples: Any = np.concatenate(waveforms)
        offsets = np.cumsum([0, *map(len, waveforms)], dtype=np.int64)
        return Tokens(ids=samples, offsets=offsets, types=None, truncated=0)
