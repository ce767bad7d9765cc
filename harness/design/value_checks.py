"""Checks of every value that a run of a cell may have, before anything starts.

Fixed values, documented defaults, each choice and both ends of each interval pass the same checks: the types of the
schema, `harness.config.validation.check`, the types that a class declares for its fields, and the checks of that class
itself.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import FloatDistribution

from harness.config.annotations import type_errors_of
from harness.config.error_messages import explain
from harness.config.instantiate import TRUSTED, build
from harness.config.kinds import class_path, with_target
from harness.config.schema import Config
from harness.config.validation import check
from harness.design.cells import Cell
from harness.design.search_space import Parameter
from harness.errors import HarnessError, Problems
from harness.records.signature import digest

BUILT = ("model", "method", "augment")  # sections whose classes check their own fields


class Checks:
    """Checks of the cells of one command; values that cells share are checked once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def fixed(self, cell: Cell, base: Mapping[str, Any], problems: Problems) -> None:
        """Add a problem for each invalid value among those that all runs of a cell share.

        Args:
            cell: the cell.
            base: its resolved configuration. The model section is checked where the model's files are looked for.
            problems: added to.
        """
        for message in self._fixed(cell.config, base):
            problems.add(message)

    def tuned(self, cell: Cell, base: Mapping[str, Any], problems: Problems) -> None:
        """Add a problem for each invalid value that tuning may choose; see `fixed`."""
        before = {*self._fixed(cell.config, base), *self.of_section("model", base)}
        for key, entry in cell.space.items():
            if entry.declared and key.startswith("method.") and base["method"] == shipped("method", cell.method):
                continue  # the tests check the YAMLs that ship with the program
            conditions = {other: cell.space[other].decode(values[0]) for other, values in entry.when.items()}
            for value in entry.extremes:
                for message in self.of_values(cell, conditions | {key: value}, key):
                    if message not in before:
                        problems.add(
                            f"{message.removesuffix('.')} (of {entry.written}).{whole_numbers(entry, message)}"
                        )

    def of_values(self, cell: Cell, values: Mapping[str, Any], key: str | None = None) -> tuple[str, ...]:
        """Return what is wrong with a configuration of a cell, in sentences.

        Args:
            cell: the cell.
            values: the values of tuned keys.
            key: the key whose section is checked; None checks the sections of all keys.
        """
        sections = {each.partition(".")[0] for each in values} if key is None else {key.partition(".")[0]}
        common = not sections & {*BUILT}
        own = [values, sorted(sections)] if common else [cell.id, values]
        known = digest(OmegaConf.to_container(OmegaConf.create({"own": own})))
        if known not in self._known:
            self._known[known] = tuple(self._of_values(cell, values, sections))
        return self._known[known]

    def _of_values(self, cell: Cell, values: Mapping[str, Any], sections: Iterable[str]) -> Iterator[str]:
        try:
            config = changed(cell, values)
            resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
        except OmegaConfBaseException as error:
            yield from explain(error, cell.config)
            return
        yield from _common(config)
        for section in BUILT:
            if section in sections:
                yield from self.of_section(section, resolved)

    def _fixed(self, config: DictConfig, base: Mapping[str, Any]) -> list[str]:
        method = base["method"]
        # Sections that ship with the program are valid, and checking them again would import torch and peft.
        own = () if method == shipped("method", str(method.get("name"))) else self.of_section("method", base)
        return [*_common(config), *own, *self.of_section("augment", base)]

    def of_section(self, section: str, resolved: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the errors that the classes of a section (`BUILT`) find in their fields, in sentences."""
        node, packages = resolved.get(section) or {}, list(resolved["packages"])
        key = digest([section, node, packages])
        if key not in self._known:
            parts = (
                {f"augment.{name}": part for name, part in node.items()} if section == "augment" else {section: node}
            )
            self._known[key] = tuple(
                message for where, part in parts.items() for message in _of_node(part, where, packages)
            )
        return self._known[key]


def whole_numbers(entry: Parameter, message: str) -> str:
    """Return how whole numbers are tuned, if an interval of others is refused for not being such; else ""."""
    between = entry.distribution
    if not isinstance(between, FloatDistribution) or re.search("whole number|an integer", message) is None:
        return ""
    low, high = math.ceil(between.low), math.floor(between.high)
    return f" For whole numbers: '{entry.key}=range({low},{high + 1})'."


def changed(cell: Cell, values: Mapping[str, Any]) -> DictConfig:
    """Return a cell's configuration with other values, interpolations unresolved.

    Raises:
        OmegaConfBaseException: a value does not have the type of its key.
    """
    config = cast(DictConfig, pickle.loads(pickle.dumps(cell.config)))
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)
    return config


@cache
def shipped(group: str, name: str) -> Any:
    """Return the section that a YAML of this program sets; None if there is no such YAML."""
    try:
        root = OmegaConf.to_container(OmegaConf.create({"root": "${harness.root:}"}), resolve=True)
        path = Path(cast(dict[str, str], root)["root"]) / "conf" / group / f"{name}.yaml"
        return OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")), resolve=True)[group]  # type: ignore[call-overload,index] # YAML of a mapping
    except (OSError, KeyError, OmegaConfBaseException, yaml.YAMLError):
        return None


def _common(config: DictConfig) -> list[str]:
    problems = Problems()
    check(cast(Config, config), problems)  # a DictConfig typed by the schema reads like one
    return problems.messages


def _of_node(node: Any, where: str, packages: list[str]) -> Iterator[str]:
    """Yield the errors in a class's fields: types first, as its own checks may compare values of the wrong type."""
    if not isinstance(node, Mapping):
        section = where.partition(".")[0]
        yield (
            f"{where}={node}: this is a section with keys of its own, not one value. Choose by name: {section}=<name>."
        )
        return
    found: list[str] = []
    if str(class_path(node)).partition(".")[0] in (*TRUSTED, *packages):
        found = list(type_errors_of(with_target(node), where))
    yield from found
    if not found:
        try:
            build(node, packages)
        except HarnessError as error:
            # Whoever builds a node does not know where it stands.
            yield from (f"{where}.{each}" if each.startswith("kind=") else each for each in error.problems)
