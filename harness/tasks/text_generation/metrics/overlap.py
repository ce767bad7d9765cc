"""BLEU, chrF and TER by sacrebleu, ROUGE by rouge-score, against one or more references a row. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from harness.api.metric import Predictions, RowScores, Targets
from harness.tasks.text_generation.metrics.corpus import CorpusMetric, Statistics, mean_of, texts

References = tuple[tuple[str, ...], ...]
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"  # scripts without spaces: each character is a token
_TOKEN = re.compile(rf"[a-z0-9]+|[{CJK}]")
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
BLEU_OPTIONS: dict[str, dict[str, Any]] = {
    "bleu": {}, "bleu_lc": {"lowercase": True}, "bleu_zh": {"tokenize": "zh"},
}  # fmt: skip


def bleu(name: str) -> CorpusMetric:
    """Return corpus BLEU of a kind (`BLEU_OPTIONS`), 0 to 100: BLEU-4, exponential smoothing (Post 2018)."""
    return CorpusMetric(_extractor(name), _bleu_of_sums)


def chrf() -> CorpusMetric:
    """Return corpus chrF2, 0 to 100 (Popovic 2015)."""
    return CorpusMetric(_extractor("chrf"), lambda sums: _score("chrf", sums))


def ter() -> CorpusMetric:
    """Return corpus TER in percent: edits a word of the references (Snover et al. 2006)."""
    return CorpusMetric(_extractor("ter"), lambda sums: _score("ter", sums))


def rouge(kind: str) -> CorpusMetric:
    """Return the mean F-measure of ROUGE: rouge1 | rouge2 | rougeL | rougeLsum, 0 to 1 (Lin 2004).

    Of several references the one with the highest counts. Words are stemmed; Chinese, Japanese and Korean text is
    compared by characters.
    """

    def rows(targets: Targets, predictions: Predictions) -> RowScores:
        return _rouge_rows(tuple(targets), texts(predictions))[kind]

    return mean_of(rows)


def signature(name: str, targets: Targets) -> str | None:
    """Return sacrebleu's signature of a metric for references; None for a metric of another library."""
    if name not in (*BLEU_OPTIONS, "chrf", "ter"):
        return None
    counts = {len(references) for references in targets}
    scorer = _scorer(name)
    scorer.num_refs = counts.pop() if len(counts) == 1 else -1
    return f"{scorer.get_signature()}"


def _scorer(name: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    if name in BLEU_OPTIONS:
        return BLEU(**BLEU_OPTIONS[name])
    return CHRF() if name == "chrf" else TER()


def _extractor(name: str) -> Callable[[Targets, Predictions], Statistics]:
    return lambda targets, predictions: _statistics(name, tuple(targets), texts(predictions))


@lru_cache(maxsize=16)
def _statistics(name: str, references: References, written: tuple[str, ...]) -> Statistics:
    """Return sacrebleu's statistics of rows, which its paired bootstrap uses as well.

    They are computed for the value and again for the scores of rows, hence the cache.
    """
    most = max(map(len, references))
    streams = [[row[place] if place < len(row) else None for row in references] for place in range(most)]
    found = np.array(_scorer(name)._extract_corpus_statistics(list(written), streams), dtype=np.float64)
    found.flags.writeable = False
    return found


def _score(name: str, sums: Statistics) -> float:
    return float(_scorer(name)._compute_score_from_stats(sums.tolist()).score)


def _bleu_of_sums(sums: Statistics) -> float:
    """Return BLEU as sacrebleu's `compute_bleu` does, which takes whole numbers only: derivatives need fractions."""
    hypothesis, reference, *counts = sums.tolist()
    correct, total = counts[: len(counts) // 2], counts[len(counts) // 2 :]
    if not any(correct) or not all(total):
        return 0.0
    logarithms, smooth = 0.0, 1.0
    for matched, all_ in zip(correct, total, strict=True):
        if matched == 0:
            smooth *= 2
        logarithms += math.log((matched or 1 / smooth) / all_)
    brevity = min(0.0, 1 - reference / hypothesis)
    return 100 * math.exp(brevity + logarithms / len(correct))


class _Words:
    """Tokens as rouge-score's own tokenizer makes them, and single characters of scripts without spaces."""

    def tokenize(self, text: str) -> list[str]:
        return [word for token in _TOKEN.findall(text.lower()) for word in _stemmed(token)]


@lru_cache(maxsize=100_000)
def _stemmed(token: str) -> tuple[str, ...]:
    return tuple(_stemmer().tokenize(token)) or (token,)


@cache
def _stemmer() -> Any:
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(use_stemmer=True)


@lru_cache(maxsize=4)
def _rouge_rows(references: References, written: tuple[str, ...]) -> dict[str, RowScores]:
    """Return the F-measure of each row (n,) by kind; all kinds share the work on words."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), tokenizer=_Words())
    rows = [scorer.score_multi(list(row), text) for row, text in zip(references, written, strict=True)]
    return {kind: np.array([row[kind].fmeasure for row in rows], dtype=np.float64) for kind in ROUGE}
