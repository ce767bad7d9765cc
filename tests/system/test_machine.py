"""Which library computes products, and that they keep their precision."""

from __future__ import annotations

import torch

from harness.models.cpu_kernels import use_fast_products


def test_products_keep_the_precision_of_float32() -> None:
    """Whatever library computes them, products and their gradients are as close to exact ones as float32 can be."""
    use_fast_products()
    generator = torch.Generator().manual_seed(1)
    for rows, inner, columns in ((3, 5, 2), (40, 384, 77), (300, 384, 1536), (200, 1536, 384)):
        inputs = torch.randn(rows, inner, generator=generator, requires_grad=True)
        layer = torch.nn.Linear(inner, columns)
        outputs = layer(inputs)
        outputs.square().sum().backward()
        exact = inputs.detach().double().requires_grad_()
        wanted = exact @ layer.weight.detach().double().T + layer.bias.detach().double()
        wanted.square().sum().backward()
        for found, right in ((outputs, wanted), (inputs.grad, exact.grad)):
            assert found is not None and right is not None
            assert float(((found - right).abs().max() / right.abs().max()).detach()) < 1e-5


def test_the_choice_is_made_once() -> None:
    """Asked again, the answer is the same and nothing is tried out again."""
    first = use_fast_products()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert use_fast_products() is first
    assert torch.equal(torch.get_rng_state(), state)
