"""A loaded data set of speech with transcripts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.data.dataset import Dataset
from harness.data.sounds import SoundSource
from harness.errors import Problems, nearest
from harness.formatting.examples import several
from harness.models.sound_files.sound_architectures import WAVEFORM, WHISPER, longest_sound
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.speech_recognition.vocabulary import spelled
from harness.tasks.text_generation.data import GenerationSplit

MULTILINGUAL = 51_865  # tokens of Whisper's multilingual vocabularies, or more (Radford et al. 2022)
MOST_LACKING = 0.5  # share of the characters of transcripts that a vocabulary may lack


@dataclass(frozen=True)
class Speech:
    """What a model needs to know of the task.

    Attributes:
        window: seconds that no sound exceeds, and to which Whisper's are padded.
        normalize: name of the normalizer, see `NORMALIZERS`.
        language: code of the language, such as en, for a multilingual Whisper; None: none is said.
        most_tokens: most tokens of a transcript.
        metric: name of the metric that selects.
    """

    window: float
    normalize: str
    language: str | None
    most_tokens: int
    metric: str


@dataclass(frozen=True, kw_only=True)
class SpeechData(Dataset):
    """A data set whose splits are `GenerationSplit`: prompts are digests of sounds, completions transcripts.

    Attributes:
        speech: see `Speech`.
        sounds: where the sound with a digest comes from.
        names: what the sound with a digest is called: a path in the folder, or a row.
        longest: seconds of the longest sound.
    """

    family: ClassVar[str] = "speech_recognition"

    speech: Speech
    sounds: Mapping[str, SoundSource]
    names: Mapping[str, str]
    longest: float

    def check_model(self, name: str, directory: Path, problems: Problems) -> None:
        """Report a model that transcribes nothing, reads too little, or lacks language or characters."""
        config = _json(directory / "config.json")
        kind = config.get("model_type")
        if kind == WHISPER:
            most = longest_sound(directory)
            problems.check(
                most is None or self.longest <= most,
                f"model={name} reads {most or 0:g} seconds, and there are sounds of {self.longest:.1f}. Cut them with "
                "their transcripts, or choose a model of CTC such as model=wav2vec2-base.",
            )
            self._check_language(name, directory, config, problems)
        elif problems.check(
            kind in WAVEFORM,
            f"model={name} ({kind}) writes no texts: name Whisper (model=whisper-tiny-en), or a model tuned by CTC "
            "(model=wav2vec2-base).",
        ):
            self._check_characters(name, directory, problems)

    def _check_language(self, name: str, directory: Path, config: Mapping[str, Any], problems: Problems) -> None:
        language = self.speech.language
        if int(config.get("vocab_size", 0)) >= MULTILINGUAL:
            if problems.check(
                language is not None,
                f"model={name} is multilingual, and has to be told the language: task.language=en, for example.",
            ):
                known = _languages(directory)
                problems.check(
                    not known or language in known,
                    f"model={name} does not know task.language={language}. {nearest(str(language), known)}",
                )
        else:
            problems.check(
                language in (None, "en"),
                f"task.language={language}: model={name} knows English alone. Choose a multilingual one, such as "
                "model=whisper-small, or task.language=en.",
            )

    def _check_characters(self, name: str, directory: Path, problems: Problems) -> None:
        vocabulary = _json(directory / "vocab.json")
        if not problems.check(
            bool(vocabulary),
            f"model={name} has no vocab.json, which says the characters that it writes: name a model tuned by CTC, "
            "such as model=wav2vec2-base.",
        ):
            return
        lacking, every = self.lacking(vocabulary)
        share = sum(lacking.values()) / max(every, 1)
        shown = several([f"{each!r} ({count})" for each, count in lacking.most_common()])
        problems.check(
            share <= MOST_LACKING,
            f"model={name} lacks {share:.0%} of the characters of the transcripts: {shown}. Normalize them "
            "(task.normalize=basic, or digits for digits as words), or name a model of their script.",
        )

    def lacking(self, vocabulary: Mapping[str, Any]) -> tuple[Counter[str], int]:
        """Return the characters of training transcripts that a vocabulary lacks, with their numbers, and of all."""
        change, found, every = NORMALIZERS[self.speech.normalize], Counter[str](), 0
        train = self.train
        assert isinstance(train, GenerationSplit)
        for row in train.rows:
            text = spelled(change(row.completion), vocabulary)
            every += len(text)
            found.update(each for each in text if each not in vocabulary)
        return found, every


def _languages(directory: Path) -> list[str]:
    """Return the codes of the languages that the tokenizer of a Whisper has tokens for; [] if its files do not say."""
    added = _json(directory / "tokenizer.json").get("added_tokens") or []
    tokens = [*(str(each.get("content")) for each in added), *_json(directory / "added_tokens.json")]
    return sorted({match[1] for token in tokens if (match := re.fullmatch(r"<\|([a-z]{2,3})\|>", token))})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
