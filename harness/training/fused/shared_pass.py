"""State that the layers of a fused backbone share during one pass: the layout and the sessions' random streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.training.fused.layout import Layout
from harness.training.masks import fill, selected
from harness.training.session import TrainingSession


class SharedPass:
    """The shared pass that is being computed.

    Each session draws the same random numbers as it would alone: from its own stream, in the order of the layers, in
    the shape of its own padded batch; values that fall on padding are discarded. So its dropout does not depend on the
    other sessions. With `train.dropout_masks=native` the draws on a CPU equal those of PyTorch's own dropout, number
    for number; CUDA's dropout kernels draw others from the same stream.

    Args:
        sessions: K sessions.
    """

    def __init__(self, sessions: Sequence[TrainingSession]) -> None:
        self.sessions = sessions
        self.layout: Layout
        device = sessions[0].device
        self._kind = "cuda" if device.type == "cuda" else "cpu"
        self._streams = [torch.Generator(device if self._kind == "cuda" else "cpu") for _ in sessions]

    @contextmanager
    def going(self, layout: Layout) -> Iterator[None]:
        """Use this layout and the sessions' random streams within the block; advance the streams if it succeeds."""
        self.layout = layout
        for session, generator in zip(self.sessions, self._streams, strict=True):
            generator.set_state(session.random_state.tensors[self._kind])
            if session.masks is not None:
                session.masks.begin(session.progress.step, session.part)
        yield
        for session, generator in zip(self.sessions, self._streams, strict=True):
            session.random_state.tensors = session.random_state.tensors | {self._kind: generator.get_state()}

    def noise(self, chances: Mapping[int, float], like: Tensor, offset: int = 0) -> Tensor:
        """Draw dropout factors for tokens: 0, or 1 / (1 - chance).

        Args:
            chances: dropout probabilities of adjacent sessions, by index; 0 draws nothing.
            like: (t, d), these sessions' tokens.
            offset: index in the pass of the first of these tokens.
        """
        layout, width = self.layout, like.shape[-1]
        noise = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        for k, chance in chances.items():
            own = noise[layout.segments[k].start - offset : layout.segments[k].stop - offset]
            if chance == 0:
                own.fill_(1.0)
            elif (kept := layout.kept[k]) is None:
                self._draw(k, own, chance)
            else:
                shape = ((layout.rows[k].stop - layout.rows[k].start) * layout.widths[k], width)
                if (masks := self.sessions[k].masks) is not None:
                    own_lanes = masks.lanes(shape[0] * width).reshape(shape)[kept.numpy()]
                    fill(own, selected(own_lanes, chance), chance)
                else:
                    drawn = torch.empty(shape, dtype=like.dtype, device=like.device)
                    torch.index_select(self._draw(k, drawn, chance), 0, kept, out=own)
        return noise

    def attention_noise(self, chances: Mapping[int, float], weights: Tensor) -> Tensor:
        """Draw dropout factors for attention weights (N, heads, L, L)."""
        layout = self.layout
        noise = torch.empty_like(weights)
        for k, chance in chances.items():
            rows, width = noise[layout.rows[k]], layout.widths[k]
            if chance == 0:
                rows.fill_(1.0)
            elif width == noise.shape[-1]:
                self._draw(k, rows, chance)
            else:
                # Positions beyond the session's own width are padding, whose weights are 0.
                drawn = torch.empty(*rows.shape[:2], width, width, dtype=rows.dtype, device=rows.device)
                rows.zero_()[:, :, :width, :width] = self._draw(k, drawn, chance)
        return noise

    def _draw(self, k: int, into: Tensor, chance: float) -> Tensor:
        if (masks := self.sessions[k].masks) is not None:
            return masks.fill(into, chance)
        return into.bernoulli_(1 - chance, generator=self._streams[k]).div_(1 - chance)
