"""The network of task families that classify sounds: a backbone that reads them, pooling over frames and a head."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from harness.data.examples import Batch
from harness.models.network import AdaptedModel
from harness.models.sound_files.sound_pooling import pooled_sounds


class SoundModel(AdaptedModel):
    """A backbone with a linear head on 20 x its L2-normalized pooled vector, as for texts."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch: (n, C) float32."""
        return self.apply_head(self.features(batch))

    def features(self, batch: Batch) -> Tensor:
        """Return the L2-normalized pooled vectors of a batch: (n, d) float32."""
        return functional.normalize(pooled_sounds(self.backbone, batch, self.pooling), dim=-1)
