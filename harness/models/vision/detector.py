"""Architectures that find objects by themselves, such as DETR, RT-DETR, D-FINE or YOLOS, with their own losses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.examples import Batch
from harness.models.heads import BOX_HEADS, CLASS_HEADS
from harness.models.image_files.image_architectures import BOXES
from harness.models.image_files.image_pooling import PIXELS
from harness.models.pooling import widened
from harness.models.vision.image_model import ImageModel

OBJECTS = (
    "objects"  # key of a batch: (n, k, 5) class, left, top, right and bottom as shares of the image; class -1: none
)
RARE = 0.01  # see `harness.models.vision.centre_points`


class DetectorModel(ImageModel):
    """An `AutoModelForObjectDetection`, which matches its queries with objects and has a loss of its own.

    Its layers that give classes are new; those that give boxes keep what they learned.

    Args:
        backbone: the model.
        classes: number of classes C.
    """

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__(backbone, BOXES, classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return (n, q, C + 4): probabilities of the classes, and centre, width and height of each query.

        In training mode return the architecture's loss of the batch instead, (1,).
        """
        backbone: Any = self.backbone
        if self.training:
            loss: Tensor = backbone(batch[PIXELS], labels=labels_of(batch[OBJECTS])).loss
            return widened(loss).reshape(1)
        output = backbone(batch[PIXELS])
        logits = widened(output.logits)
        # Softmax with a last class for nothing, or a sigmoid for each class: the architectures differ in that.
        softmax = logits.shape[-1] == self.classes + 1
        shares = logits.softmax(-1)[..., : self.classes] if softmax else logits.sigmoid()
        return torch.cat([shares, widened(output.pred_boxes)], dim=-1)

    def losses(self, batch: Batch) -> Tensor:
        """Return the architecture's loss of each image in eval mode, (n,): a pass for each, as it gives means."""
        backbone: Any = self.backbone
        found = [
            backbone(batch[PIXELS][row : row + 1], labels=labels_of(batch[OBJECTS][row : row + 1])).loss
            for row in range(len(batch[PIXELS]))
        ]
        return widened(torch.stack([each.reshape(()) for each in found]))

    @torch.no_grad()
    def reset_head(self) -> None:
        """Draw the layers that give classes from torch's generator."""
        for name, parameter in self.named_parameters():
            if any(part in CLASS_HEADS for part in name.split(".")):
                if parameter.ndim > 1:
                    nn.init.normal_(parameter, std=0.02)
                else:
                    softmax = parameter.shape[0] == self.classes + 1
                    nn.init.constant_(parameter, 0.0 if softmax else math.log(RARE / (1 - RARE)))

    def _in_head(self, name: str) -> bool:
        return any(part in (*CLASS_HEADS, *BOX_HEADS) for part in name.split("."))


def labels_of(objects: Tensor) -> list[dict[str, Tensor]]:
    """Return objects (n, k, 5) as transformers takes them: classes, and centre, width and height as shares."""
    made = []
    for row in objects:
        own = row[row[:, 0] >= 0]
        corners = own[:, 1:]
        centres, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        made.append({"class_labels": own[:, 0].long(), "boxes": torch.cat([centres, sides], dim=1)})
    return made
