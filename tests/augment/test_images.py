"""Transforms of training images: their ranges, labels of mixed images, and the same images for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.augment.images import Color, Flip, ImageTransform, Mixup, RandomResizedCrop
from harness.augment.randaugment import OPERATIONS, RandAugment
from harness.data.tokenization import Tokens
from harness.errors import HarnessError
from harness.tasks.image_classification.examples import ImageExamples

ALL: list[ImageTransform] = [
    Flip(name="image_flip"), RandomResizedCrop(name="image_crop"), Color(name="image_color"),
    RandAugment(name="randaugment"), Mixup(name="mixup"),
]  # fmt: skip


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("transform", ALL, ids=lambda each: each.name)
def test_each_changes_images_within_range_and_by_the_seed(transform: ImageTransform) -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        changed, targets = transform.apply(images(), torch.tensor([0, 1, 2, 0, 1, 2]), 3)
        assert changed.shape == images().shape and changed.min() >= 0 and changed.max() <= 1
        assert len(targets) == 6
        made.append(changed)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_flips_and_crops() -> None:
    always, _ = Flip(name="f", probability=1).apply(images(), torch.zeros(6), 2)
    assert torch.equal(always, images().flip(-1))
    whole, _ = RandomResizedCrop(name="c", least=1, ratio=1).apply(images(), torch.zeros(6), 2)
    assert torch.allclose(whole, images(), atol=1e-5)


def test_mixed_labels_are_shares() -> None:
    torch.manual_seed(0)
    mixed, shares = Mixup(name="mixup", alpha=5).apply(images(), torch.tensor([0, 1, 2, 0, 1, 2]), 3)
    assert torch.allclose(shares.sum(1), torch.ones(6)) and ((shares > 0).sum(1) > 1).any()
    assert not torch.equal(mixed, images())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_randaugment(name: str) -> None:
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8))
    for strength in (-1.0, 0.0, 1.0):
        made = OPERATIONS[name](picture, strength)
        assert made.size == picture.size and made.mode == "RGB"
        if strength == 0 and name not in ("autocontrast", "equalize"):
            assert np.abs(np.asarray(made).astype(int) - np.asarray(picture)).max() <= 1


def test_only_training_batches_are_transformed() -> None:
    pixels: Any = (images() * 255).byte().numpy()
    tokens = Tokens(ids=pixels, offsets=np.arange(7), types=None, truncated=0)
    plain = ImageExamples(tokens, np.array([0, 1, 0, 1, 0, 1]), 0, classes=2)
    changed = plain.transformed([Mixup(name="mixup"), Flip(name="f", probability=1)])
    rows, device, targets = np.arange(4), torch.device("cpu"), torch.tensor([0, 1, 0, 1])
    assert [each.name for each in changed.transforms] == ["f", "mixup"]
    assert torch.equal(changed.batch(rows, device)["pixel_values"], plain.batch(rows, device)["pixel_values"])
    batch, shares = changed.training_batch(rows, device, targets)
    assert shares.shape == (4, 2) and not torch.equal(batch["pixel_values"], plain.batch(rows, device)["pixel_values"])
    assert changed.digest() == plain.digest()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Flip, {"probability": 2}), (RandomResizedCrop, {"least": 0}), (Color, {"contrast": -1}), (Mixup, {"alpha": 0}),
     (RandAugment, {"operations": 0}), (RandAugment, {"magnitude": 31})],
)  # fmt: skip
def test_settings_out_of_range(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=rf"augment\.x\.{next(iter(settings))}"):
        kind(name="x", **settings)
