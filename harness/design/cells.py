"""Composing the cells of a study: the only module that reads sweep overrides and composes configurations.

Choices over config groups, over `task.*` or over a key listed in `axes` make cells; choices over `seed` are the
confirmation seeds; every other sweep is tuned, if its key changes what is computed (`harness.design.tunable_keys`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.api.family import direction_of, unused_keys
from harness.config.error_messages import explain, keys
from harness.config.hydra_section import without_effect
from harness.config.overrides import by_key, meant, normal, parse
from harness.config.typed_text import as_typed
from harness.design import partial_keys
from harness.design.method_space import bind, has_key, held, method_space
from harness.design.search_space import Parameter, parameter
from harness.design.trial_config import TrialConfigs
from harness.design.tunable_keys import (
    check_axes,
    check_choices,
    check_names,
    check_pins,
    check_shared,
    check_used,
    for_the_study,
    one_choice,
    refusal,
)
from harness.errors import HarnessError, Problems, nearest
from harness.records.signature import digest

LONGEST = 120  # characters of a cell's id, which names its directory
NAMED = ("task", "model", "method")  # the groups whose choices name a cell
# How other programs' YAMLs describe a sweep of a key.
OF_OTHERS = frozenset(
    ("min", "max", "low", "high", "lower", "upper", "values", "choices", "distribution", "type", "log")
)


@dataclass(frozen=True)
class Cell:
    """A combination of choices, one row of the comparison table, whose hyperparameters are tuned.

    Attributes:
        id: `task.model.method`, then `key-value` of each other axis; names the cell's directory.
        task, model, method: the names of the choices.
        variant: the values of the other axes, by override key.
        config: the composed configuration; interpolations are unresolved, so that they follow tuned values.
        space: the tuned keys.
    """

    id: str
    task: str
    model: str
    method: str
    variant: dict[str, Any]
    config: DictConfig
    space: dict[str, Parameter] = field(default_factory=dict)

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved configuration with these tuned values, as a plain dict."""
        return self._configs.resolve(values)

    @cached_property
    def _configs(self) -> TrialConfigs:
        return TrialConfigs(self.config)

    def defaults(self) -> dict[str, Any] | None:
        """Return the documented defaults of the tuned keys in sampled form; None if the space excludes one of them."""
        try:
            return self.encode({})
        except ValueError:
            return None

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sampled form of a configuration; tuned keys that it lacks get their documented defaults.

        Raises:
            ValueError: the space excludes the configuration.
        """
        found: dict[str, Any] = {}
        for key, entry in self.space.items():
            if entry.active(found):
                found[key] = entry.encode(values[key] if key in values else OmegaConf.select(self.config, key))
        return found

    @property
    def metric(self) -> str:
        """The metric that selects configurations."""
        return str(self.config.task.metric)

    @property
    def maximize(self) -> bool:
        """True if a larger value of the metric is better."""
        return direction_of(self.metric) == "maximize"


@dataclass(frozen=True)
class StudyRequest:
    """A study as requested on the command line.

    Attributes:
        cells: the cells, in the requested order.
        seeds: confirmation seeds.
        config: the composed configuration without any axis: budget, launcher, directories.
        notes: sentences for the user on keys that only some cells have.
    """

    cells: list[Cell]
    seeds: tuple[int, ...]
    config: DictConfig
    notes: tuple[str, ...] = ()


def compose(loader: ConfigLoader, master: DictConfig, arguments: Iterable[str]) -> StudyRequest:
    """Compose every cell.

    Args:
        loader: Hydra's config loader, with its search path set.
        master: the configuration of the multirun; its `sweep.params` are read as if typed before `arguments`.
        arguments: the overrides of the command line.

    Raises:
        HarnessError: all errors in the overrides at once.
    """
    problems = Problems()
    overrides = _overrides(loader, master, list(arguments), problems)
    request = _sort(loader, master, overrides, problems)
    check_axes(list(master.get("axes") or []), overrides, problems)
    check_shared(request.fixed, request.axes, problems)
    problems.raise_any()

    cells: list[Cell] = []
    names: list[tuple[str, str, str]] = []
    lacking: dict[str, frozenset[str]] = {}
    for values in itertools.product(*request.axes.values()):
        chosen = dict(zip(request.axes, values, strict=True))
        try:
            cell, missing = _cell(loader, master, request, chosen)
            cells.append(cell)
            lacking[cell.id] = missing
            names += [(group, chosen[group], getattr(cell, group)) for group in NAMED if group in chosen]
        except (HydraException, OmegaConfBaseException) as error:
            problems.messages += explain(error, master)
        except HarnessError as error:
            problems.extend(error)
    notes = []
    try:
        notes = partial_keys.notes(lacking, overrides, {cell.id: cell.config for cell in cells})
    except HarnessError as error:
        problems.extend(error)
    problems.raise_any()
    cells = [_without_inactive_keys(cell, cells, master) for cell in cells] if "regularise" in request.axes else cells
    for key in request.tuned:
        if not any(key in cell.space for cell in cells):
            known = {other for cell in cells for other in keys(cell.config)}
            hint = "" if key in known else f" {meant(key, sorted(known))}"
            problems.add(f"{overrides[key].input_line}: no cell of this study has the key {key} to tune.{hint}")
    check_names(names, problems)
    check_used(request.axes, [cell.config.method.get("ignores") or () for cell in cells], problems)
    problems.raise_any()
    if twice := {cell.id for cell in cells if sum(other.id == cell.id for other in cells) > 1}:
        problems.add(f"These cells are requested twice: {', '.join(sorted(twice))}. Name each choice once.")
    problems.raise_any()
    # Unless seeds are given, use fresh ones: never the seed with which configurations were selected.
    seeds = request.seeds or tuple(int(master.seed) + 1 + i for i in range(max(1, master.confirm.seeds)))
    return StudyRequest(cells, seeds, master, tuple(notes))


def _without_inactive_keys(cell: Cell, cells: list[Cell], master: DictConfig) -> Cell:
    """Remove tuned keys that only other cells switch on: `regularise=none,r_drop` compares without and with it."""
    off = {
        key
        for key in cell.space
        if key.startswith("train.")
        and OmegaConf.select(cell.config, key) == OmegaConf.select(master, key)
        and any(
            OmegaConf.select(other.config, key) != OmegaConf.select(cell.config, key)
            for other in cells
            if (other.task, other.model, other.method) == (cell.task, cell.model, cell.method)
        )
    }
    return replace(cell, space={key: entry for key, entry in cell.space.items() if key not in off})


@dataclass
class _Request:
    """Overrides, sorted by their effect."""

    fixed: dict[str, str] = field(default_factory=dict)  # key: the override as it was written
    axes: dict[str, list[str]] = field(default_factory=dict)
    tuned: dict[str, Override] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    leaves: set[str] = field(default_factory=set)  # keys fixed by a mapping, as `train={lr: 1e-3}` fixes train.lr


def _sort(loader: ConfigLoader, master: DictConfig, overrides: Mapping[str, Override], problems: Problems) -> _Request:
    request = _Request()
    for key, override in overrides.items():
        try:
            if not override.is_sweep_override():
                one_choice(key, "" if override.is_delete() else override.get_value_string())
                request.fixed[key] = override.input_line or ""
                request.leaves |= _leaves(override.value(), key)
            elif _is_axis(loader, master, override):
                request.axes[key] = _choices(override)
                for choice in request.axes[key]:
                    one_choice(key, choice, request.axes[key])
                if known := _options(loader, master, key):
                    # Some groups take several: regularise=r_drop,[r_drop,ema].
                    asked = {part for choice in request.axes[key] for part in choice.strip("[]").split(",") if part}
                    for option in asked - set(known):
                        problems.add(f"{key}={option}: there is no such {key}. {nearest(option, known)}")
            elif key == "seed":
                request.seeds = tuple(int(value) for value in _choices(override))
                for seed in request.seeds:
                    problems.check(0 <= seed < 2**31, f"seed must lie in [0, 2147483647], not {seed}.")
            elif reason := refusal(key, override.get_value_string()):
                problems.add(f"{override.input_line}: {reason}")
            else:
                parameter(override)  # a sweep that is invalid for every cell is reported once
                request.tuned[key] = override
        except HarnessError as error:
            problems.extend(error)
        except ValueError:
            problems.add(f"{override.input_line}: a seed is a whole number.")
    return request


def _leaves(value: Any, key: str) -> set[str]:
    """Return the keys that an override sets: its own, and those of its mapping."""
    inner = (_leaves(part, f"{key}.{name}") for name, part in value.items()) if isinstance(value, dict) else ()
    return {key}.union(*inner)


def _overrides(
    loader: ConfigLoader, master: DictConfig, arguments: list[str], problems: Problems
) -> dict[str, Override]:
    """Return all overrides by key; later ones replace earlier ones, so the command line wins over sweeps/*.yaml."""
    params = OmegaConf.to_container(master.sweep.params, resolve=True)
    assert isinstance(params, dict)
    found: dict[str, Override] = {}
    lines: list[str] = []
    for key, value in params.items():
        try:
            lines += _lines(str(key), value)
        except HarnessError as error:
            problems.extend(error)
    of_yaml: set[str] = set()
    for number, line in enumerate(as_typed([*lines, *arguments])):
        try:
            override = parse(normal(line, lambda group: bool(_options(loader, master, group))), loader)
            parts = [parse(part, loader) for part in by_key(override)] or [override]
        except HarnessError as error:
            problems.extend(error)
            continue
        for part in parts:
            key = part.get_key_element().lstrip("+~")
            found.pop(key, None)
            found[key] = part
            (of_yaml.add if number < len(lines) else of_yaml.discard)(key)
    for key, override in found.items():
        if key in of_yaml and (reason := for_the_study(key, override)):
            problems.add(f"sweep.params: {reason}")
    return found


def _lines(key: str, value: Any) -> Iterator[str]:
    """What a command line would say in place of an entry of `sweep.params`; a mapping is its keys, one by one."""
    if not isinstance(value, Mapping) or not value:
        yield f"{key}={_text(value)}"
        return
    if OF_OTHERS.issuperset(map(str, value)):
        raise HarnessError(
            f"sweep.params: {key}: a sweep is written as one text. Choices: {key}: a,b An interval: "
            f"{key}: interval(0,0.5) or, at equal ratios, {key}: tag(log,interval(1e-5,1e-2))"
        )
    for name, part in value.items():
        yield from _lines(f"{key}.{name}", part)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return "null" if value is None else str(value)


def _is_axis(loader: ConfigLoader, master: DictConfig, override: Override) -> bool:
    key = override.get_key_element().lstrip("+")
    if not (_options(loader, master, key) or key.startswith("task.") or key in (master.get("axes") or [])):
        return False
    if reason := refusal(key, override.get_value_string(), axis=True):
        raise HarnessError(f"{override.input_line}: {reason}")
    if not override.is_discrete_sweep():
        raise HarnessError(f"{override.input_line}: {key} makes cells, so it takes a list of choices, not an interval.")
    value = override.value()
    if getattr(value, "tags", None) or getattr(value, "shuffle", False):
        raise HarnessError(f"{override.input_line}: {key} makes cells, so it takes a plain list: no tags, no shuffle.")
    return True


def _choices(override: Override) -> list[str]:
    if not override.is_discrete_sweep():
        raise HarnessError(f"{override.input_line}: list the values, e.g. {override.get_key_element()}=1,2,3.")
    values = [str(value) for value in override.sweep_string_iterator()]
    if not values:
        raise HarnessError(
            f"{override.input_line}: no choice matches. glob(...) picks choices of a group, method=glob(lo*)."
        )
    if isinstance(override.value(), ChoiceSweep) and len(set(values)) < len(values):
        raise HarnessError(f"{override.input_line}: a choice is named twice.")
    return values


def _options(loader: ConfigLoader, master: DictConfig, group: str) -> list[str]:
    name = master.hydra.job.config_name
    hydra = [str(line) for line in master.hydra.overrides.hydra]
    return loader.get_group_options(group, config_name=name, overrides=hydra)


def _cell(
    loader: ConfigLoader, master: DictConfig, request: _Request, chosen: dict[str, str]
) -> tuple[Cell, frozenset[str]]:
    config, missing = partial_keys.load(loader, master, request.fixed, chosen)
    _replace_mappings(config, chosen)
    choices = dict(config.hydra.runtime.choices)
    check_choices(choices)
    problems = Problems()
    problems.messages += without_effect(config.hydra)
    check_pins(request.leaves.union(chosen), config.model, problems)
    problems.raise_any()
    OmegaConf.set_struct(config, False)
    config.pop("hydra")
    OmegaConf.set_struct(config, True)
    names = {group: str(config[group].name) for group in NAMED}
    variant = {
        # Several choices of a group, as in regularise=[r_drop,ema], are written r_drop+ema.
        key: OmegaConf.select(config, key) if "." in key else value.strip("[]").replace(",", "+")
        for key, value in chosen.items()
        if key not in NAMED
    }
    cell_id = ".".join([*names.values(), *(f"{key.rpartition('.')[2]}-{value}" for key, value in variant.items())])
    ignored = tuple(f"{section}." for section in config.method.get("ignores") or ())
    yaml = f"method/{choices['method']}.yaml"
    unused = unused_keys(config.task.get("kind"))
    own = method_space(loader, config, lambda key: _is_set(key, request, chosen) or key in unused, yaml)
    space = {key: entry for key, (entry, _) in own.items()}
    space |= {
        key: parameter(override, *held(config, key))
        for key, override in request.tuned.items()
        if has_key(config, key) and not key.startswith(ignored) and key not in unused
    }
    conditions = {key: when for key, (_, when) in own.items() if when}
    missing |= {key for key in request.tuned if not has_key(config, key)}
    space = bind(space, conditions, config, yaml)
    return Cell(_slug(cell_id), **names, variant=variant, config=config, space=space), missing


def _replace_mappings(config: DictConfig, chosen: Mapping[str, str]) -> None:
    """Set the mappings of axes, which Hydra has merged into those of the YAML: cells differ by what their names say."""
    for key, text in chosen.items():
        if "." in key and text.startswith("{") and OmegaConf.is_dict(OmegaConf.select(config, key)):
            OmegaConf.update(config, key, parse(f"{key}={text}").value(), merge=False)


def _is_set(key: str, request: _Request, chosen: Mapping[str, str]) -> bool:
    """Return whether a key that a method would tune is fixed, makes cells, or lies in a mapping that is tuned."""
    mappings = [one for one in (*chosen, *request.tuned) if "." in one]
    return key in request.leaves or key in chosen or any(key.startswith(f"{one}.") for one in mappings)


def _slug(text: str) -> str:
    """Return a name that is a safe directory name on every file system; a short hash prevents collisions."""
    safe = "".join(c if c.isalnum() or c in "._-+" else "_" for c in text)
    if safe == text and len(text) <= LONGEST:
        return text
    return f"{safe[: LONGEST - 9]}-{digest(text)[:8]}"
