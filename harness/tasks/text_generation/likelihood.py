"""Log likelihoods of given continuations: for multiple choice, and for the loss on general text (retention)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.tasks.text_generation.generation import Progress, Tokens, base_of, padded

LOGITS = 2**26  # most logits of a batch at once: 256 MiB in float32
IGNORED = -100  # label of a token that is not scored, as in transformers


@dataclass(frozen=True)
class Likelihood:
    """Of one continuation.

    Attributes:
        log_likelihood: sum over its tokens, in nats.
        tokens: their number.
    """

    log_likelihood: float
    tokens: int


@torch.inference_mode()
def log_likelihoods(
    model: nn.Module,
    pairs: Sequence[tuple[Tokens, Tokens]],
    pad: int = 0,
    progress: Progress | None = None,
) -> list[Likelihood]:
    """Return the log likelihood of each continuation after its context, in the order of the pairs.

    The model is put into eval mode for the time.

    Args:
        model: as `generate` takes it. A decoder reads context and continuation; of an encoder-decoder, the encoder
            reads the context and the decoder writes the continuation.
        pairs: n pairs (context, continuation) of token ids. A context has at least one token.
        pad: id of padding; it changes nothing.
        progress: called after each batch.

    Raises:
        HarnessError: a context or a continuation is empty.
    """
    if empty := [row for row, (context, text) in enumerate(pairs) if not len(context) or not len(text)]:
        raise HarnessError(
            f"A continuation and its context need at least one token each; row {empty[0]} (counted from 0) has none."
        )
    scorer = _Scorer(model, pad)
    lengths = [scorer.length(pair) for pair in pairs]
    found: list[Likelihood | None] = [None] * len(pairs)
    done, training = 0, model.training
    model.eval()
    try:
        for rows in _batches(lengths, scorer.vocabulary):
            for row, likelihood in zip(rows, scorer.score([pairs[row] for row in rows]), strict=True):
                found[row] = likelihood
            done += len(rows)
            if progress is not None:
                progress(done, len(pairs))
    finally:
        model.train(training)
    return [each for each in found if each is not None]


def _batches(lengths: Sequence[int], vocabulary: int) -> list[list[int]]:
    """Return rows in batches of like length whose logits fit below `LOGITS`, the longest first."""
    made: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        full = not made or (len(made[-1]) + 1) * lengths[made[-1][0]] * vocabulary > LOGITS
        if full:
            made.append([])
        made[-1].append(row)
    return made


class _Scorer:
    def __init__(self, model: nn.Module, pad: int) -> None:
        self.model: Any = model
        self.pad = pad
        self.device = next(model.parameters()).device
        base = base_of(model)
        self.encoder_decoder = bool(base.config.is_encoder_decoder)
        self.vocabulary = int(base.config.get_text_config(decoder=True).vocab_size)

    def length(self, pair: tuple[Tokens, Tokens]) -> int:
        """Return the number of positions with logits."""
        context, text = pair
        return len(text) if self.encoder_decoder else len(context) + len(text)

    def score(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> list[Likelihood]:
        logits, labels = self._read(pairs)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        ).view_as(labels)
        sums = losses.double().sum(1).tolist()
        return [Likelihood(-total, len(text)) for total, (_, text) in zip(sums, pairs, strict=True)]

    def _read(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> tuple[Tensor, Tensor]:
        """Return logits (n, t, v) and the labels (n, t) of the tokens that they predict."""
        if self.encoder_decoder:
            ids, mask = padded([context for context, _ in pairs], self.pad, False, self.device)
            texts, scored = padded([text for _, text in pairs], self.pad, False, self.device)
            labels = texts.masked_fill(scored == 0, IGNORED)
            return self.model(input_ids=ids, attention_mask=mask, labels=labels).logits, labels
        # Padding on the right moves no token, so that models without position ids are right, too.
        ids, mask = padded([[*context, *text] for context, text in pairs], self.pad, False, self.device)
        before, _ = padded([[0] * len(context) for context, _ in pairs], 1, False, self.device)
        scored = mask.clone()
        scored[:, : before.shape[1]] *= before
        labels = ids.masked_fill(scored == 0, IGNORED)
        logits = self.model(input_ids=ids, attention_mask=mask).logits[:, -ids.shape[1] :]  # without virtual tokens
        return logits[:, :-1], labels[:, 1:]
