"""Measure on the first training steps, which count like all others, whether shared passes are faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.training.session import TrainingSession

ROUNDS = 3  # of each kind, alternating; the first is not counted: buffers are allocated and kernels selected

VERDICTS: dict[tuple[object, ...], bool] = {}  # of this process, by model, machine, sessions and step size


class SpeedCheck:
    """Compute the first rounds of a group alternately shared and separately, then choose the faster way.

    Args:
        sessions: sessions of the group, all on one backbone.
    """

    def __init__(self, sessions: Sequence[TrainingSession]) -> None:
        first = sessions[0]
        settings: Any = first.network.backbone.config
        tokens = sum(float(session.train.tokens.lengths.mean()) * session.config.batch_size for session in sessions)
        self._key = (
            settings.model_type, settings.hidden_size, settings.num_hidden_layers, first.device.type,
            first.config.precision, torch.get_num_threads(), len(sessions), int(tokens / len(sessions)).bit_length(),
        )  # fmt: skip
        self._seconds: dict[bool, list[float]] = {True: [], False: []}

    @property
    def measures(self) -> bool:
        """True until the result is known."""
        return self._key not in VERDICTS

    @property
    def shares(self) -> bool:
        """True if the next round is computed in one shared pass."""
        known = VERDICTS.get(self._key)
        return len(self._seconds[True]) <= len(self._seconds[False]) if known is None else known

    def note(self, shared: bool, seconds: float, tokens: int) -> None:
        """Record the duration of a round with this many tokens."""
        if not self.measures:
            return
        self._seconds[shared].append(seconds / tokens)
        if all(len(found) == ROUNDS for found in self._seconds.values()):
            VERDICTS[self._key] = min(self._seconds[True][1:]) < min(self._seconds[False][1:])
