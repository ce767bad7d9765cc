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
from harness.methods.recommenders.sasrec import SasRec
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


class Slow(SasRec):
    """Takes its time as long as a file HOLD lies in the current directory, so that a test says when it may end."""

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        super().adapt(network, model, total_steps)
        return Dawdling()


class Dawdling(Hooks):
    """Sleeps after each step as many seconds as the file HOLD says, while there is one."""

    def after_step(self, step: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float(Path(HOLD).read_text(encoding="utf-8")))


@dataclass(kw_only=True)
class Dying(BitFit):
    """Its second rank dies after its third step, once: a file, `mark`, tells of the first time."""

    mark: str = "has_died"

    def adapt(self, network: AdaptedModel, model: PretrainedModel, total_steps: int) -> Hooks:
        super().adapt(network, model, total_steps)
        return Deadly(Path(self.mark))


class Deadly(Hooks):
    """Kills the process of rank 1 after a step."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def after_step(self, step: int) -> None:
        if step == 2 and os.environ.get("RANK") == "1" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
