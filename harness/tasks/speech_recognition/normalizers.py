"""How texts are made comparable before errors are counted (`task.normalize`). Imports no torch.

Each is applied to transcripts and outputs alike, and applying it twice changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def plain(text: str) -> str:
    """Join white space, which separates words in every normalizer."""
    return " ".join(text.split())


def basic(text: str) -> str:
    """Put into lower case, compatible characters into one form, and replace what is no letter, digit or mark by space.

    An apostrophe within a word is left out, so that `it's` stays one word.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    joined = re.sub(r"(?<=\w)['\u2019](?=\w)", "", folded)
    kept = (each if unicodedata.category(each)[0] in "LMN" else " " for each in joined)
    return plain("".join(kept))


def digits(text: str) -> str:
    """Apply `basic`, then write each digit as a word of English: `314`, `3-1-4` and `three one four` are equal."""
    return plain(re.sub(r"[0-9]", lambda found: f" {DIGITS[int(found[0])]} ", basic(text)))


NORMALIZERS: dict[str, Callable[[str], str]] = {"none": plain, "basic": basic, "digits": digits}
