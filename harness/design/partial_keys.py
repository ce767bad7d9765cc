"""Keys that only some cells of a study have: they are set where they exist, and reported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from harness.config.error_messages import unknown_key
from harness.config.kinds import class_path
from harness.config.overrides import OF_CELLS
from harness.errors import HarnessError, nearest

SHOWN = 3  # cells that a note names


def load(
    loader: ConfigLoader, master: DictConfig, fixed: Mapping[str, str], chosen: Mapping[str, str]
) -> tuple[DictConfig, frozenset[str]]:
    """Compose a cell. Return its configuration, and the fixed keys that it lacks, which are left out.

    Args:
        loader, master: see `harness.design.cells.compose`.
        fixed: the overrides of all cells, by key.
        chosen: the values of this cell, by axis.

    Raises:
        HarnessError: the cell lacks the key of an axis, or a class does not take an argument that was added with +.
    """
    lines, missing = dict(fixed), set[str]()
    axes = {key: f"{key}={value}" for key, value in chosen.items()}
    apart = ""
    while True:
        try:
            config = loader.load_sweep_config(master, [*lines.values(), *axes.values()]).copy()
        except HydraException as error:
            text = f"{error}\n{error.__cause__}"
            match = re.search(r"Could not override '([^']+)'.*(?:not in struct|Key ')", text, re.DOTALL)
            key = match[1] if match else ""
            if not key.startswith(OF_CELLS) or key not in {**lines, **axes}:
                raise
            if axes.pop(key, None):
                apart = key
            elif lines.pop(key, None):
                missing.add(key)
            continue
        if apart:
            names = " ".join(f"{group}={config[group].name}" for group in ("task", "model", "method"))
            raise HarnessError(f"{apart}={chosen[apart]} makes a cell of {names}. {unknown_key(apart, config)}")
        _check_added([line for line in lines.values() if line.startswith("+")], config)
        return config, frozenset(missing)


def notes(
    lacking: Mapping[str, frozenset[str]], overrides: Mapping[str, Override], configs: Mapping[str, DictConfig]
) -> list[str]:
    """Return notes on the cells that lack a key which other cells have.

    Args:
        lacking: the requested keys that a cell lacks, by the cell's id.
        overrides: the overrides as written, by key.
        configs: the configuration of each cell, without those keys.

    Raises:
        HarnessError: no cell has a fixed key; missing tuned keys are reported elsewhere.
    """
    found, wrong = [], []
    for key in dict.fromkeys(key for keys in lacking.values() for key in sorted(keys)):
        without = [cell for cell, keys in lacking.items() if key in keys]
        if len(without) < len(lacking):
            more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
            found.append(
                f"{overrides[key].input_line} counts only where the key exists, not in "
                f"{', '.join(without[:SHOWN])}{more}."
            )
        elif not overrides[key].is_sweep_override():
            wrong.append(unknown_key(key, configs[without[0]]))
    if wrong:
        raise HarnessError(*wrong)
    return found


def _check_added(lines: Sequence[str], config: DictConfig) -> None:
    """Check that classes take the arguments that were added with +."""
    for line in lines:
        key = line.lstrip("+").partition("=")[0]
        parent, _, leaf = key.rpartition(".")
        if not key.startswith(OF_CELLS):
            continue
        node = OmegaConf.select(config, parent) if parent else None
        target = class_path(OmegaConf.to_container(node) if OmegaConf.is_dict(node) else None)
        if target is None:
            continue
        try:
            taken = inspect.signature(get_object(target)).parameters
        except Exception:  # noqa: BLE001 - a target that cannot be imported is reported where it is built
            continue
        if leaf not in taken and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
            names = [name for name in taken if name not in ("self", "args", "kwargs")]
            raise HarnessError(f"{line}: {target.rpartition('.')[2]} takes no {leaf}. {nearest(leaf, names)}")
