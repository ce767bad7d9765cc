"""Methods that go wrong, each in its own way, one that does nothing, and one that takes its time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.methods import LinearHead
from harness.methods.base import ClosedForm, Features, Hooks, Labels
from harness.methods.bitfit import BitFit
from harness.models import PretrainedModel
from harness.models.network import AdaptedModel

HOLD = "hold"
HOARD: list[np.ndarray] = []  # what a process that executes one run after another never gives back


@dataclass(kw_only=True)
class Faulty(ClosedForm):
    """Goes wrong in the way that `fault` names."""

    fault: str
    knob: float = 0.0

    def fit(self, features: Features, labels: Labels, descriptions: Features) -> LinearHead:
        weight = np.zeros((len(descriptions), features.shape[1]))
        if self.fault == "raise":
            raise ValueError("this method always raises")
        if self.fault == "nan":
            weight[:] = np.nan
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(3600)
        if self.fault == "memory":
            raise MemoryError
        if self.fault == "hoard":
            HOARD.append(np.ones(2**27))  # 1 GiB
            time.sleep(5)  # Slurm looks every two seconds
        return LinearHead(weight, np.zeros(len(descriptions)))


class Slow(BitFit):
    """Takes its time as long as a file HOLD lies in the current directory, so that a test says when it may end."""

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        super().adapt(network, model, total_steps)
        return Dawdling()


class Dawdling(Hooks):
    """Sleeps after each step as many seconds as the file HOLD says, while there is one."""

    def after_step(self, step: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float(Path(HOLD).read_text(encoding="utf-8")))
