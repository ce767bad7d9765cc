"""The network of speech recognition: Whisper with its decoder, or a model of CTC, with its own head."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from harness.data.examples import Batch
from harness.models.language.language_model import IGNORED, LanguageModel
from harness.models.pooling import widened
from harness.models.sound_files.sound_pooling import SAMPLES, SOUND, by_window, sound_inputs

LABELS, DECODER_INPUTS = "labels", "decoder_input_ids"  # keys of a batch, see `SpeechModel.forward`


class SpeechModel(LanguageModel):
    """A backbone that writes what is said in sounds; sounds of different windows are computed apart."""

    def forward(self, batch: Batch) -> Tensor:
        """Return for each row the negative log likelihood of its labels and their number: (n, 2) float32.

        Of CTC (Graves et al. 2006) the likelihood is summed over all alignments.

        Args:
            batch: a sound's keys (`harness.models.sound_files.sound_pooling`), `labels` (n, length) int64, `IGNORED`
                where there is none, and for an encoder with a decoder `decoder_input_ids` (n, length), what the decoder
                reads at each place.
        """
        found, order = list[Tensor](), list[Tensor]()
        for rows, inputs in self.inputs_by_window(batch):
            labels = batch[LABELS][rows]
            if self.is_encoder_decoder:
                logits = self.backbone(**inputs, decoder_input_ids=batch[DECODER_INPUTS][rows], use_cache=False).logits
                losses = functional.cross_entropy(
                    widened(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
                ).view(labels.shape).sum(dim=1)  # fmt: skip
            else:
                logits = self.backbone(**inputs).logits
                losses = self._ctc(widened(logits), labels, self.frames(batch[SAMPLES][rows], logits.shape[1]))
            found.append(torch.stack([losses, (labels != IGNORED).sum(dim=1).to(losses.dtype)], dim=1))
            order.append(rows)
        return torch.cat(found)[torch.argsort(torch.cat(order))]

    def inputs_by_window(self, batch: Batch) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the rows (k,) of each window of a batch, and the backbone's arguments for their sounds."""
        for window, rows in by_window(batch):
            yield rows, sound_inputs(self.bare, batch[SOUND][rows], batch[SAMPLES][rows], window)

    def frames(self, samples: Tensor, most: int) -> Tensor:
        """Return the number of vectors (n,) within sounds of these numbers of samples, of `most` in their window."""
        found: Tensor = self.bare._get_feat_extract_output_lengths(samples)
        return found.clamp(1, most)

    @property
    def blank(self) -> int:
        """The token of CTC that stands for none."""
        return int(self.bare.config.pad_token_id)

    def _ctc(self, logits: Tensor, labels: Tensor, frames: Tensor) -> Tensor:
        # cuDNN's kernel has limits on the labels, and PyTorch's own computes the same on every device.
        with torch.backends.cudnn.flags(enabled=False):
            losses: Tensor = functional.ctc_loss(
                logits.log_softmax(dim=-1).transpose(0, 1), labels.clamp(min=0), frames,
                (labels != IGNORED).sum(dim=1), blank=self.blank, reduction="none", zero_infinity=True,
            )  # fmt: skip
        return losses
