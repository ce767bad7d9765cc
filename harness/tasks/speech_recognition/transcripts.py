"""Transcripts as the tokens of a model, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.tasks.speech_recognition.data import MULTILINGUAL, Speech
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.speech_recognition.vocabulary import DELIMITER, spelled


@dataclass(frozen=True)
class TranscriptEncoder:
    """Tokenizes transcripts for one model.

    Whisper is trained on transcripts as they are written, since it writes capitals and punctuation; models of CTC,
    whose vocabularies have letters alone, on normalized ones.

    Attributes:
        tokenizer: of the model.
        config: of the backbone.
        speech: see `Speech`.
    """

    tokenizer: Any
    config: Any
    speech: Speech

    @property
    def decodes(self) -> bool:
        """Whether the model has a decoder; else it is one of CTC."""
        return bool(self.config.is_encoder_decoder)

    @property
    def prefix(self) -> list[int]:
        """The tokens that a decoder begins with: its start, language and task if it has several, no timestamps."""
        if not self.decodes:
            return []
        known = self.tokenizer.get_vocab()
        begin = [int(self.config.decoder_start_token_id)]
        if self.config.vocab_size >= MULTILINGUAL and self.speech.language is not None:
            begin += [known[f"<|{self.speech.language}|>"], known["<|transcribe|>"]]
        return begin + [known[each] for each in ("<|notimestamps|>",) if each in known]

    @property
    def most(self) -> int:
        """Most tokens of a transcript, without the end token."""
        if not self.decodes:
            return self.speech.most_tokens
        return min(self.speech.most_tokens, int(self.config.max_target_positions) - len(self.prefix))

    def labels(self, transcripts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of transcripts; of a decoder with the end token, of CTC without what it cannot write."""
        if not self.decodes:
            known = self.tokenizer.get_vocab()
            return [[known[each] for each in text if each in known] for text in self._spelled(transcripts)]
        # Whisper's texts begin with a space.
        texts = [f" {text.strip()}" for text in transcripts]
        end = int(self.config.eos_token_id)
        return [[*ids, end] for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def lacking(self, transcripts: Sequence[str]) -> Counter[str]:
        """Return the characters that the vocabulary of a model of CTC lacks, with their numbers."""
        if self.decodes:
            return Counter()
        known = self.tokenizer.get_vocab()
        return Counter(each for text in self._spelled(transcripts) for each in text if each not in known)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of written tokens."""
        if self.decodes:
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
        names = {id_: token for token, id_ in self.tokenizer.get_vocab().items()}
        letters = [name for name in (names.get(token, "") for token in tokens) if len(name) == 1]
        return " ".join("".join(letters).replace(self._delimiter, " ").split())

    def _spelled(self, transcripts: Sequence[str]) -> list[str]:
        change, known = NORMALIZERS[self.speech.normalize], self.tokenizer.get_vocab()
        return [spelled(change(text), known, self._delimiter) for text in transcripts]

    @property
    def _delimiter(self) -> str:
        return str(getattr(self.tokenizer, "word_delimiter_token", None) or DELIMITER)
