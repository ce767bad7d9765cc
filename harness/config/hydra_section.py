"""The section `hydra` of a YAML: settings of Hydra that have no effect here are refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

from omegaconf import OmegaConf

from harness.config.synonyms import hydra_answer

# What Hydra and conf/config.yaml set. `hydra.callbacks`, `hydra.verbose` and the loggers work, and may be set.
_OURS: dict[str, Any] = {
    "run.dir": ".", "output_subdir": None, "job.name": "harness", "job.chdir": False, "job.env_set": {},
    "job.env_copy": [], "launcher._target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "sweeper._target_": "hydra_plugins.harness_sweeper.sweeper.HarnessSweeper",
}  # fmt: skip


def without_effect(section: Any) -> list[str]:
    """Return a message for each setting of a composed `hydra` section that has no effect here; [] if there is none."""
    return [
        f"hydra.{key}={value}: {hydra_answer(f'hydra.{key}', str(value))} It is set in a YAML: remove it there."
        for key, expected in {**_OURS, **_hydra_directories()}.items()
        if (value := _plain(OmegaConf.to_container(section, resolve=False), key)) != expected
    ]


def _plain(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


@cache
def _hydra_directories() -> dict[str, Any]:
    """Return the directories of multiruns by Hydra's own defaults, which differ between its versions."""
    text = (resources.files("hydra.conf") / "hydra/output/default.yaml").read_text(encoding="utf-8")
    sweep = OmegaConf.to_container(OmegaConf.create(text).sweep)
    return {f"sweep.{key}": value for key, value in cast(dict[str, Any], sweep).items()}
