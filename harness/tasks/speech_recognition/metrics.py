"""The metrics of speech recognition, by jiwer. Imports no torch.

Targets (n,) are tuples with the transcript of a row, predictions (n,) records with fields `text`, what the model wrote,
`nll` and `tokens` (`harness.tasks.text_generation.data.WRITTEN`). Errors are the substitutions, deletions and
insertions of the alignment with fewest of them (Levenshtein 1966). Rates are errors of all rows over words, or
characters, of all transcripts: ratios of sums, so a row's score follows from its two counts. They may exceed 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.api.metric import Direction, Metric, Predictions, Targets
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.text_generation.metrics import likelihoods
from harness.tasks.text_generation.metrics.corpus import CorpusMetric, Statistics, mean_of, texts


def aligned(references: Sequence[str], written: Sequence[str], characters: bool = False) -> Any:
    """Align n outputs with n transcripts, both normalized, by words or characters; see jiwer's `WordOutput`."""
    import jiwer

    process = jiwer.process_characters if characters else jiwer.process_words
    return process(list(references), list(written))


def counts(references: Sequence[str], written: Sequence[str], characters: bool = False) -> Statistics:
    """Return the errors of each row and the length of its transcript, in words or characters: (n, 2)."""
    found = aligned(references, written, characters)
    rows = []
    for units, chunks in zip(found.references, found.alignments, strict=True):
        # Of a substitution both spans are as long; of others one is empty.
        errors = sum(
            max(each.ref_end_idx - each.ref_start_idx, each.hyp_end_idx - each.hyp_start_idx)
            for each in chunks
            if each.type != "equal"
        )
        rows.append((errors, len(units)))
    return np.array(rows, dtype=np.float64)


def _counted(targets: Targets, predictions: Predictions, normalize: str, characters: bool) -> Statistics:
    change = NORMALIZERS[normalize]
    return counts([change(each[0]) for each in targets], [change(each) for each in texts(predictions)], characters)


def metrics_of(normalize: str) -> Mapping[str, Metric]:
    """Return the family's metrics, which compare texts by a normalizer."""
    change = NORMALIZERS[normalize]
    corpus = {
        name: CorpusMetric(
            partial(_counted, normalize=normalize, characters=characters), lambda sums: float(sums[0] / sums[1])
        )
        for name, characters in (("wer", False), ("cer", True))
    }
    right = mean_of(
        lambda targets, predictions: np.array(
            [change(each[0]) == change(text) for each, text in zip(targets, texts(predictions), strict=True)],
            np.float64,
        )
    )
    loss = likelihoods.loss()
    return {
        **{
            name: Metric(name, name.upper(), each.value, each.per_row, Direction.MINIMIZE, "{:.1%}", 0.0)
            for name, each in corpus.items()
        },
        "sentences": Metric(
            "sentences", "right sentences", right.value, right.per_row, Direction.MAXIMIZE, "{:.1%}", 0.0, 1.0,
            score_interval=True,
        ),
        # What training minimizes; as in every family it breaks ties.
        "loss": Metric("loss", "loss", loss.value, loss.per_row, Direction.MINIMIZE, "{:.3f}", 0.0),
    }  # fmt: skip


METRICS = metrics_of("basic")
