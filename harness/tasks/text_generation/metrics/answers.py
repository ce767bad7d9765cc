"""Exact match and F1 of tokens, after filters that find the answer in a text. Imports no torch.

Filters and normalizations are those of lm-evaluation-harness (GSM8K: strict-match and flexible-extract) and of SQuAD.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from harness.api.metric import Predictions, RowScores, Targets
from harness.errors import HarnessError, nearest
from harness.tasks.text_generation.metrics.corpus import CorpusMetric, mean_of, texts
from harness.tasks.text_generation.metrics.overlap import CJK

Filter = Callable[[str], str]
INVALID = "[invalid]"  # of a text in which a filter finds nothing, as in lm-evaluation-harness; equals no reference

_IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")  # of numbers, in outputs and references
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CHARACTER = re.compile(rf"([{CJK}])")
_NUMBER = re.compile(r"#### (\-?[0-9\.\,]+)")
_ANY_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def plain(text: str) -> str:
    """Return a text without white space at its ends."""
    return text.strip()


def number(text: str) -> str:
    """Return the number after `####`, as GSM8K's solutions have it (strict-match)."""
    found = _NUMBER.search(text)
    return INVALID if found is None else _bare(found.group(1))


def last_number(text: str) -> str:
    """Return the last number of a text (flexible-extract)."""
    found = [next(filter(None, groups)) for groups in _ANY_NUMBER.findall(text)]
    return _bare(found[-1]) if found else INVALID


def first_line(text: str) -> str:
    """Return the first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def lower(text: str) -> str:
    """Return a text in lower case, without white space at its ends."""
    return text.strip().lower()


FILTERS: Mapping[str, Filter] = {
    "plain": plain, "number": number, "last_number": last_number, "first_line": first_line, "lower": lower,
}  # fmt: skip


def regex(pattern: str) -> Filter:
    """Return the filter that finds the first match of a pattern: its first group, or all of it.

    Raises:
        HarnessError: it is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise HarnessError(f"regex:{pattern} is no regular expression: {error}.") from None

    def find(text: str) -> str:
        found = compiled.search(text)
        if found is None:
            return INVALID
        return (next((each for each in found.groups() if each is not None), found.group())).strip()

    return find


def filter_of(name: str) -> Filter:
    """Return a filter by its name in `FILTERS`, or `regex:<pattern>`.

    Raises:
        HarnessError: there is none.
    """
    if name.startswith("regex:"):
        return regex(name.removeprefix("regex:"))
    if name not in FILTERS:
        raise HarnessError(f"There is no filter {name}. {nearest(name, FILTERS)} Or regex:<pattern>.")
    return FILTERS[name]


def exact_match(of_output: Filter = plain, of_reference: Filter | None = None) -> CorpusMetric:
    """Return the fraction of outputs whose answer equals that of one of their references.

    Args:
        of_output: finds the answer in an output.
        of_reference: the same for references; None: like `of_output`.
    """
    of_reference = of_reference or of_output

    def rows(targets: Targets, predictions: Predictions) -> RowScores:
        pairs = zip(texts(predictions), targets, strict=True)
        return np.array([_matches(of_output(text), map(of_reference, row)) for text, row in pairs], dtype=np.float64)

    return mean_of(rows)


def token_f1() -> CorpusMetric:
    """Return the mean F1 of tokens with the closest reference, as SQuAD has it (Rajpurkar et al. 2016)."""

    def rows(targets: Targets, predictions: Predictions) -> RowScores:
        pairs = zip(texts(predictions), targets, strict=True)
        return np.array([max(_f1(text, reference) for reference in row) for text, row in pairs], dtype=np.float64)

    return mean_of(rows)


def words(text: str) -> list[str]:
    """Return lower-case words without punctuation and articles; single characters of scripts without spaces."""
    kept = "".join(" " if each in "\u3000" else each for each in text.lower() if each not in string.punctuation)
    return _CHARACTER.sub(r" \1 ", _ARTICLES.sub(" ", kept)).split()


def _bare(text: str) -> str:
    for pattern in _IGNORED:
        text = re.sub(pattern, "", text)
    return text.strip().lower()


def _matches(answer: str, references: map[str]) -> bool:
    return answer != INVALID and answer in set(references)


def _f1(text: str, reference: str) -> float:
    found, wanted = words(text), words(reference)
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))
