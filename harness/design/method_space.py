"""The search space that a method declares, and its conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, IntegerNode, OmegaConf

from harness.design.search_space import Parameter, parameter
from harness.design.tunable_keys import refusal
from harness.errors import HarnessError, Problems


def method_space(
    loader: ConfigLoader, config: DictConfig, fixed: Callable[[str], bool], choice: str
) -> dict[str, tuple[Parameter, Mapping[str, Any]]]:
    """Return the search space that a method declares, without fixed keys: each key with its condition as written.

    An entry is a sweep, or `{sweep: ..., when: {<other key>: <value or list of values>}}`. The entry of a fixed key is
    not read, as its interval may not fit the value.

    Args:
        loader: Hydra's config loader.
        config: the cell's configuration.
        fixed: returns whether a key has one value in this cell.
        choice: the method's YAML, for messages.

    Raises:
        HarnessError: all invalid entries at once.
    """
    parser = OverridesParser.create(config_loader=loader)
    space: dict[str, tuple[Parameter, Mapping[str, Any]]] = {}
    problems = Problems()
    for key, entry in (config.method.get("space") or {}).items():
        where = f"{choice}: space: {key}: {entry}"
        if fixed(key):
            continue
        if not problems.check(has_key(config, key), f"{where}: the configuration has no such key."):
            continue
        sweep, when = entry, cast(dict[str, Any], {})
        if OmegaConf.is_dict(entry):
            rule = f"{where}: write a sweep, or {{sweep: <sweep>, when: {{<other key>: <value or list of values>}}}}."
            if not problems.check(
                set(entry) <= {"sweep", "when"} and "sweep" in entry and OmegaConf.is_dict(entry.get("when", {})), rule
            ):
                continue
            sweep, when = entry["sweep"], cast(dict[str, Any], OmegaConf.to_container(entry)).get("when") or {}
        try:
            override = parser.parse_override(f"{key}={sweep}")
            if not problems.check(override.is_sweep_override(), f"{where}: this is one value, not a sweep."):
                continue
            if reason := refusal(key, str(sweep)):
                problems.add(f"{where}: {reason}")
                continue
            space[key] = parameter(override, *held(config, key), f"{choice}: space: {key}: {sweep}"), when
        except (HydraException, HarnessError) as error:
            problems.add(f"{where}: {str(error).splitlines()[0]}")
    problems.raise_any()
    return space


def bind(
    space: Mapping[str, Parameter],
    conditions: Mapping[str, Mapping[str, Any]],
    config: DictConfig,
    choice: str = "method",
) -> dict[str, Parameter]:
    """Attach the conditions to the entries of a space.

    A condition on a key that is not tuned is evaluated here: the entry is then always tuned, or removed.

    Args:
        space: the entries without conditions.
        conditions: by key, as written: {other key: value or list of values}.
        config: the cell's configuration.
        choice: the method's YAML, for messages.

    Raises:
        HarnessError: a condition names a key that does not exist or comes later, or a value that the key cannot have.
    """
    problems = Problems()
    # Entries without a condition come first, since conditions refer to earlier keys.
    bound = {key: entry for key, entry in space.items() if key not in conditions}
    gone: set[str] = set()
    for key, written in conditions.items():
        when, settled = {}, True
        for other, value in written.items():
            where = f"{choice}: space: {key}: when: {other}: {value}"
            values = value if isinstance(value, list) else [value]
            if other in bound:
                try:
                    when[other] = tuple(bound[other].encode(each) for each in values)
                except ValueError:
                    problems.add(f"{where}: {other}={bound[other].sweep} never has that value.")
            elif other in gone:
                settled = False
            elif other in conditions:
                problems.add(f"{where}: a condition may only refer to earlier keys: put {other} before {key}.")
            elif problems.check(has_key(config, other), f"{where}: the configuration has no key {other}."):
                settled = settled and OmegaConf.select(config, other) in values
        if settled:
            bound[key] = replace(space[key], when=when)
        else:
            gone.add(key)
    problems.raise_any()
    return bound


def has_key(config: DictConfig, key: str) -> bool:
    """Return whether a configuration has a key, whatever its value."""
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return OmegaConf.is_dict(node) and leaf in cast(DictConfig, node)


def held(config: DictConfig, key: str) -> tuple[Any, bool]:
    """Return the value of a key, and whether the schema restricts the key to integers; see `parameter`."""
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    integers = OmegaConf.is_dict(node) and isinstance(cast(DictConfig, node)._get_node(leaf), IntegerNode)
    value = OmegaConf.select(config, key)
    return (0 if integers and value is None else value), integers
