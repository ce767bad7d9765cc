"""Whether sharing passes is faster than taking turns: tried on the first steps, which count like all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.training.session import TrainingSession

ROUNDS = 3  # of each kind, in turn; the first does not count: buffers are made and kernels picked

VERDICTS: dict[tuple[object, ...], bool] = {}  # of this process, by what decides: model, machine, number, size of steps


class SpeedCheck:
    """Takes the first rounds of a crew one way and the other, and then keeps to the faster.

    Args:
        members: of the crew, all on one backbone.
    """

    def __init__(self, members: Sequence[TrainingSession]) -> None:
        first = members[0]
        settings: Any = first.classifier.backbone.config
        tokens = sum(float(member.train.tokens.lengths.mean()) * member.config.batch_size for member in members)
        self._key = (
            settings.model_type, settings.hidden_size, settings.num_hidden_layers, first.device.type,
            first.config.precision, torch.get_num_threads(), len(members), int(tokens / len(members)).bit_length(),
        )  # fmt: skip
        self._seconds: dict[bool, list[float]] = {True: [], False: []}

    @property
    def measures(self) -> bool:
        """Whether it has not found out yet."""
        return self._key not in VERDICTS

    @property
    def shares(self) -> bool:
        """Whether the next round shares its pass."""
        known = VERDICTS.get(self._key)
        return len(self._seconds[True]) <= len(self._seconds[False]) if known is None else known

    def note(self, shared: bool, seconds: float, tokens: int) -> None:
        """Take in how long a round took, for that many tokens."""
        if not self.measures:
            return
        self._seconds[shared].append(seconds / tokens)
        if all(len(found) == ROUNDS for found in self._seconds.values()):
            VERDICTS[self._key] = min(self._seconds[True][1:]) < min(self._seconds[False][1:])
