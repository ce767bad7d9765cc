"""Refuses settings of Hydra before Hydra acts on them: it makes `hydra.run.dir` before it calls the program."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from harness.command import print_problems
from harness.config.hydra_section import without_effect


class RefuseSettings(Callback):
    """A callback of Hydra (`hydra.callbacks` in conf/hydra_defaults.yaml)."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Leave with exit code 2 and a sentence for each setting that has no effect here."""
        if problems := without_effect(config.hydra):
            sys.exit(print_problems(tuple(problems)))  # Hydra makes a warning of any exception but this one
