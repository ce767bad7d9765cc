"""The few lines that Hydra requires of a sweeper; the sweep itself is harness.study.

Hydra executes this file without entering it in `sys.modules`, where dataclasses look up annotations that are strings:
so there is no `from __future__ import annotations` here.
"""

import sys
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class HarnessSweeperConfig:
    """Everything that the sweep needs is in the configuration itself: tune, confirm, launch."""

    _target_: str = "hydra_plugins.harness_sweeper.sweeper.HarnessSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="harness", node=HarnessSweeperConfig, provider="harness")


class HarnessSweeper(Sweeper):
    """Hands a multirun to `harness.study.run_study.run_study`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra passes."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the study; leave the process with its exit code if that is not 0."""
        assert self.hydra_context is not None
        assert self.config is not None
        from harness.cli.arguments import restore_arguments
        from harness.launch import begin

        arguments = restore_arguments(arguments)

        if not self.config.plan:  # it goes on beside the imports of the next line
            begin(self.config.launch, self.config.device)
        from harness.study.run_study import run_study

        if code := run_study(self.hydra_context.config_loader, self.config, arguments):
            sys.exit(code)
