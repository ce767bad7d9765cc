"""Trackers known to `python -m harness.track`, and the command that sends what a tracker missed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.config.kinds import kind_of
from harness.records.files import load_yaml
from harness.track.base import Tracker
from harness.track.tensorboard import TensorBoard
from harness.track.wandb import WeightsAndBiases

KNOWN: dict[str, type[Tracker]] = {"wandb": WeightsAndBiases, "tensorboard": TensorBoard}


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the keys of a known tracker, with their defaults."""
    return {each.name: each.default for each in fields(kind) if each.init}


def later(study: Path, node: Mapping[str, Any]) -> str:
    """Return a sentence with the command that sends what a tracker missed; "" if its class is not a known one."""
    for name, kind in KNOWN.items():
        if kind_of(node) == name:
            values = {**node, **kind.surely}
            options = [
                shlex.quote(f"{key}={_yaml(values[key])}")
                for key, default in defaults(kind).items()
                if key in values and values[key] != default
            ]
            command = ["python -m harness.track", shlex.quote(str(study)), name, *options]
            return f"To make up for it: {' '.join(command)}"
    return ""


def _yaml(value: Any) -> str:
    """Format a value so that the command line parses it back: a project named 123 must stay a string."""
    return str(value) if load_yaml(str(value)) == value else json.dumps(value)
