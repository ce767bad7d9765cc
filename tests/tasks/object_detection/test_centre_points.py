"""Centre points: what is decoded is what was meant, losses of mirrored images, cached maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.models.network import load_backbone
from harness.models.vision.centre_points import SIZE, CentrePointModel, feature_maps
from harness.tasks.object_detection.centre_points import decoded, losses
from harness.tasks.object_detection.data import Objects
from harness.tasks.object_detection.examples import as_shares, mirrored
from tests.helpers import tiny_images

OBJECTS = [
    Objects(np.array([[8.0, 16, 40, 48], [50, 10, 70, 50]]), np.array([1, 0]), np.array([False, False])),
    Objects(np.array([[0.0, 0, 80, 64]]), np.array([2]), np.array([True])),
]
SIZES = np.array([[80, 64], [80, 64]])


def _perfect(objects: torch.Tensor, height: int = 8, width: int = 10) -> torch.Tensor:
    """Outputs that are sure of the first image's objects: every cell says the sides of the object around it."""
    made = torch.full((len(objects), 3 + 4, height, width), -12.0)
    for label, *box in objects[0].tolist():
        left, top, right, bottom = (side * (width, height)[place % 2] for place, side in enumerate(box))
        made[0, int(label), int((top + bottom) / 2), int((left + right) / 2)] = 12.0
        for row in range(height):
            for column in range(width):
                sides = (column + 0.5 - left, row + 0.5 - top, right - column - 0.5, bottom - row - 0.5)
                if min(sides) > 0:
                    made[0, 3:, row, column] = torch.tensor(sides).log()
    return made


def test_decoding_inverts_the_targets_and_its_loss_is_least() -> None:
    objects = as_shares(OBJECTS, SIZES)
    outputs = _perfect(objects)
    found = decoded(outputs)[0, :2]
    assert found[:, 0].sort().values.tolist() == [0, 1] and (found[:, 1] > 0.99).all()
    for label, _, *box in found.tolist():
        true = OBJECTS[0].boxes[OBJECTS[0].classes == int(label)][0] / [80, 64, 80, 64]
        assert box == pytest.approx(true.tolist(), abs=1e-5)
    best = losses(outputs, objects)
    assert best[0] < 0.01
    assert best[1] < 0.01, "an ignored object is neither to be found nor wrong to find"
    wrong = outputs.clone()
    wrong[1, 2, 4, 4] = 12.0
    assert losses(wrong, objects)[1] < 0.01
    wrong[0, 2, 0, 9] = 12.0
    assert losses(wrong, objects)[0] > 1
    flipped = mirrored(objects, torch.tensor([True, False]), -1)
    assert flipped[0, 0].tolist() == pytest.approx([1, 0.5, 0.25, 0.9, 0.75])
    assert torch.equal(mirrored(flipped, torch.tensor([True, False]), -1)[1], objects[1])


@pytest.mark.parametrize("kind", ["efficientnet_lite", "resnet", "convnext", "vit", "dinov2"])
def test_maps_of_every_kind_of_backbone(kind: str, tmp_path: Path) -> None:
    """Maps that are given flat make the outputs that their images make."""
    tiny_images.write(kind, tmp_path)
    model = tiny_images.pretrained(kind, tmp_path, pooling="mean")
    torch.manual_seed(0)
    network = CentrePointModel(load_backbone(model.resolve(tmp_path), "boxes", 3), 3)
    network.reset_head()
    network.eval()
    batch = tiny_images.batch(2, 64) | {SIZE: torch.tensor([64, 64])}
    with torch.no_grad():
        maps = feature_maps(network.backbone, batch["pixel_values"])
        whole = network(batch)
        part = network({"states": network.features(batch), SIZE: batch[SIZE]})
    assert whole.shape[:2] == (2, 7) and whole.shape[2] >= 8 and all(each.ndim == 4 for each in maps)
    assert torch.allclose(whole, part, atol=1e-5)
