"""Words of a plain text: runs of letters and digits, single characters of Chinese and Japanese, single signs."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

from harness.tasks.token_tagging.data import Sentence

SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without spaces: each character is a word


@cache
def _pattern() -> re.Pattern[str]:
    # Signs of vowels (Devanagari, Thai) are marks, which belong to their letter but not to `\w`.
    marks = "".join(
        re.escape(chr(code)) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"
    )
    return re.compile(rf"[{SINGLE}]|(?:[^\W{SINGLE}][{marks}]*)+|[^\w\s]")


def sentence_of(text: str) -> Sentence:
    """Return the words of a text, which may have none."""
    found = list(_pattern().finditer(text))
    return Sentence(text, tuple(each.group() for each in found), tuple(each.start() for each in found), given=False)
