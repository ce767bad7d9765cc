"""Log likelihoods are transformers' own losses of each pair alone, and retention is their mean over tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.tasks.text_generation import likelihood
from harness.tasks.text_generation.likelihood import log_likelihoods
from harness.tasks.text_generation.retention.measures import mean_token_loss
from tests.tasks.text_generation.test_generation import prompts, tiny, tokenizer  # noqa: F401 -- a fixture


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_equals_the_loss_of_each_pair(kind: str, adapter: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding, batches and virtual tokens change nothing."""
    model = tiny(kind)
    if adapter:
        import peft

        task = "SEQ_2_SEQ_LM" if kind == "t5" else "CAUSAL_LM"
        model = peft.get_peft_model(model, peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3)).eval()
    rows = prompts(14)
    pairs = list(zip(rows[:7], rows[7:], strict=True))
    monkeypatch.setattr(likelihood, "LOGITS", 64 * 40)  # several batches
    found = log_likelihoods(model, pairs)
    for (context, text), each in zip(pairs, found, strict=True):
        ids, labels = (context, text) if kind == "t5" else (context + text, [-100] * len(context) + text)
        alone = model(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), labels=torch.tensor([labels])
        )
        assert each.tokens == len(text)
        assert -each.log_likelihood / len(text) == pytest.approx(alone.loss.item(), rel=1e-5)


def test_empty_contexts_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"row 1 \(counted from 0\)"):
        log_likelihoods(tiny("gpt2"), [([9], [10]), ([], [11])])


def test_retention(tokenizer: Any) -> None:  # noqa: F811 -- the fixture
    """The loss of a model that knows nothing is that of its vocabulary; long texts weigh by their tokens."""
    model = tiny("gpt2")
    texts = ["w9 w10 w11 w12 w13 w14", "w20", "w21 w22"]
    loss = mean_token_loss(model, tokenizer, texts)
    parts = [
        model(input_ids=(ids := torch.tensor([row])), labels=ids).loss.item()
        for row in ([9, 10, 11, 12, 13, 14], [21, 22])
    ]
    assert loss == pytest.approx((5 * parts[0] + parts[1]) / 6, rel=1e-5)
    assert mean_token_loss(model, tokenizer, texts[:1], longest=2) != pytest.approx(loss)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert mean_token_loss(model, tokenizer, texts) == pytest.approx(math.log(64))
    with pytest.raises(HarnessError, match="two tokens or more"):
        mean_token_loss(model, tokenizer, ["w9"])
