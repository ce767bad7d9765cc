"""Which library computes products, and that they keep their precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.machine import memory_groups, use_fast_products


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


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_of_a_job_is_that_of_its_control_group(version: int, tmp_path: Path) -> None:
    """A job of a cluster mostly sees the whole machine's groups, and is in one far below."""
    root, own = tmp_path / "groups", "slurm/job_7/step_0"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    top = root / "memory" if version == 1 else root
    (top / own).mkdir(parents=True)
    for folder, limit, used in ((top / own, "max", "5"), ((top / own).parent, "8000", "3000")):
        (folder / names[0]).write_text(limit)
        (folder / names[1]).write_text(used)
    stat = ("total_inactive_file 1000", "inactive_file 5") if version == 1 else ("inactive_file 1000",)
    ((top / own).parent / "memory.stat").write_text("\n".join(("anon 1", "active_file 7", *stat)) + "\n")
    process = tmp_path / "cgroup"
    process.write_text(f"4:cpu,memory:/{own}\n0::/\n" if version == 1 else f"0::/{own}\n")
    assert memory_groups(root, process) == [(8000.0, 2000.0)]  # 1000 cache files, and would be given up
    assert memory_groups(root, tmp_path / "nothing") == []
