"""Classification in training and serving."""

from __future__ import annotations

import torch

from harness.tasks.text_classification.runtime import TextClassificationRuntime


def test_divergence_is_symmetric_and_that_of_the_formula() -> None:
    """Half of both Kullback-Leibler divergences, a mean over rows; 0 for equal passes."""
    task = TextClassificationRuntime(("a", "b", "c", "d"))
    one, two = (
        torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
        torch.randn(5, 4, generator=torch.Generator().manual_seed(1)),
    )
    p, q = one.softmax(-1), two.softmax(-1)
    expected = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean() / 2
    torch.testing.assert_close(task.divergence(one, two), expected)
    torch.testing.assert_close(task.divergence(two, one), expected)
    assert float(task.divergence(one, one)) == 0.0
