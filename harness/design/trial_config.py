"""The resolved configuration of a trial: a cell's configuration with the trial's tuned values."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.kinds import named

SECRET = "slurm"  # section that is left out: its environment may hold secrets, and configurations are written to disk


class TrialConfigs:
    """Resolves a cell's configuration with tuned values, in a fraction of the time of resolving it whole.

    Tuned values are set in one configuration that is kept, so that each is converted to its key's type as usual. Then
    only these keys and all interpolations are read from it; the rest is a copy of the resolved defaults.

    Args:
        config: the composed configuration of the cell; it is not changed.
    """

    def __init__(self, config: DictConfig) -> None:
        self._pickled = pickle.dumps(config)  # unpickling takes a fifth of the time of a deep copy
        self._interpolations = tuple(
            key for key in _interpolations(config) if key.partition(".")[0] not in (SECRET, "hydra")
        )
        self._defaults: bytes | None = None  # the resolved defaults, pickled; None: they do not resolve
        with suppress(OmegaConfBaseException):
            self._defaults = pickle.dumps(_whole(config))
        self._config: DictConfig | None = None  # with the values of the last trial
        self._set: frozenset[str] = frozenset()  # keys of these

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved configuration with these tuned values, as a plain dict of the caller's own.

        Raises:
            OmegaConfBaseException: a value does not suit its key, or a key has no value.
        """
        if self._config is None or not self._set <= values.keys():
            self._config = cast(DictConfig, pickle.loads(self._pickled))
        config, self._config = self._config, None  # kept only if nothing is raised
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=False)
        resolved = self._from_defaults(config, values) or _whole(config)
        self._config, self._set = config, frozenset(values)
        return resolved

    def _from_defaults(self, config: DictConfig, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the defaults with what differs in `config`; None if that is more than the values of some keys."""
        if self._defaults is None:
            return None
        resolved = cast(dict[str, Any], pickle.loads(self._defaults))
        for key in (*values, *self._interpolations):
            *path, last = key.split(".")
            node: Any = resolved
            for name in path:
                node = node.get(name) if isinstance(node, dict) else None
            if not isinstance(node, dict) or last not in node:
                return None
            value = OmegaConf.select(config, key, throw_on_missing=True)
            if isinstance(value, DictConfig):
                return None
            node[last] = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
        return resolved


def _whole(config: DictConfig) -> dict[str, Any]:
    resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    resolved.pop(SECRET, None)
    return named(resolved)


def _interpolations(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the keys whose values are interpolations; of a list, or of keys that are no names, the key above them."""
    names = [key for key in config if isinstance(key, str) and key.isidentifier()]
    if prefix and len(names) < len(config):
        if "${" in OmegaConf.to_yaml(config):
            yield prefix.removesuffix(".")
        return
    for key in names:
        path = f"{prefix}{key}"
        if OmegaConf.is_interpolation(config, key):
            yield path
        elif not OmegaConf.is_missing(config, key) and isinstance(node := config[key], Container):
            if isinstance(node, DictConfig):
                yield from _interpolations(node, f"{path}.")
            elif "${" in OmegaConf.to_yaml(node):
                yield path
