"""What a tuned model keeps of its language: the mean loss of a token of general text, before and after training.

`forgetting` is the loss after training minus the loss before, as in PEFT's method_comparison. There, texts are cut at
768 tokens as here, but the logits at a token are compared with that token itself instead of the next one (`run.py`,
calculate_mean_per_token_loss). Here a token is predicted from those before it, so the numbers are not the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from harness.errors import HarnessError
from harness.tasks.text_generation.data import Conversation
from harness.tasks.text_generation.encoding import RowEncoder
from harness.tasks.text_generation.generation import Progress, base_of
from harness.tasks.text_generation.likelihood import log_likelihoods

LONGEST = 768  # tokens of a text


def mean_token_loss(
    model: nn.Module, tokenizer: Any, texts: Sequence[str], longest: int = LONGEST, progress: Progress | None = None
) -> float:
    """Return the mean negative log likelihood of a token, in nats, over all tokens of all texts.

    For `forgetting`, call it before and after training on the same texts. With an adapter in place the loss before is
    that of `model.disable_adapter()`.

    Args:
        model: as `generate` takes it. The encoder of an encoder-decoder reads the first half of a text, and the second
            half is scored.
        tokenizer: its tokenizer, with the special tokens that it adds by itself.
        texts: general text, such as paragraphs of an encyclopedia.
        longest: tokens at which a text is cut.
        progress: see `log_likelihoods`.

    Raises:
        HarnessError: no text has two tokens or more, so that there is nothing to predict.
    """
    encoder_decoder, pairs = base_of(model).config.is_encoder_decoder, []
    for ids in tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"] if texts else []:
        split = len(ids) // 2 if encoder_decoder else 1
        if len(ids) >= 2:
            pairs.append((ids[:split], ids[split:]))
    if not pairs:
        raise HarnessError(f"None of the {len(texts)} texts for retention has two tokens or more. Name other texts.")
    pad = tokenizer.pad_token_id
    found = log_likelihoods(model, pairs, 0 if pad is None else pad, progress)
    return -sum(each.log_likelihood for each in found) / sum(each.tokens for each in found)


def choice_accuracy(model: nn.Module, encoder: RowEncoder, questions: Sequence[Conversation]) -> float:
    """Return the fraction of questions whose likeliest choice, a character, is right (acc_norm of multiple choice).

    Args:
        model: as `generate` takes it.
        encoder: of its tokenizer. Prompts that are too long for `encoder.max_length` are cut at their beginning.
        questions: rows with choices, of which the completion is right.
    """
    pad, longest = encoder.tokenizer.pad_token_id, encoder.max_length
    candidates = encoder.candidates(questions)
    flat = [(context[-max(longest - len(text), 1) :], text) for row in candidates for context, text in row]
    scored = iter(log_likelihoods(model, flat, 0 if pad is None else pad))
    right = 0
    for row in questions:
        scores = {choice: next(scored).log_likelihood / len(choice) for choice in row.choices}
        right += max(scores, key=scores.__getitem__) == row.completion
    return right / len(questions)
