"""Texts in the characters of a model's vocabulary, for CTC. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DELIMITER = "|"  # between words, in the vocabularies of wav2vec 2.0 and its kin


def spelled(text: str, vocabulary: Mapping[str, Any], delimiter: str = DELIMITER) -> str:
    """Return a text in the case of the vocabulary's letters, with its delimiter between words.

    Args:
        text: words, with single spaces between.
        vocabulary: tokens; single characters are letters.
        delimiter: of words; a space if the vocabulary lacks it.
    """
    letters = [each for each in vocabulary if len(each) == 1 and each.isalpha()]
    if letters and not any(each.islower() for each in letters) and any(each.isupper() for each in letters):
        text = text.upper()
    elif letters and not any(each.isupper() for each in letters):
        text = text.lower()
    return text.replace(" ", delimiter) if delimiter in vocabulary else text
