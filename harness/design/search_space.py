"""Search spaces: Hydra's sweep grammar as Optuna distributions.

| grammar | distribution |
|---|---|
| `a,b,c`, `choice(a,b,c)` | categorical |
| `range(1,9)`, `range(1,9,2)` | integers, end excluded |
| `range(0.0,1.0,0.25)` | floats with that step, end excluded |
| `interval(0.0,0.5)`, `tag(log,interval(1e-5,1e-2))` | floats |
| the same over a key that takes an integer, `int(interval(1,64))` | integers, both ends included |

A space may be conditional: an entry with `when` exists only where keys before it have certain values. Such spaces are
sampled define-by-run.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from harness.config.schema import TuneConfig
from harness.errors import HarnessError

TAGS = {"log"}
MOST = 1_000_000  # values of a range: more are not listed
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Parameter:
    """One tuned key.

    Attributes:
        key: the override key, e.g. `train.lr`.
        sweep: as it was written, for people.
        distribution: what Optuna samples from. Choices that are lists or mappings are sampled by their text.
        values: the choices of a categorical parameter; None for numeric ones.
        when: keys before it in the space, each with the values (sampled form) with which this one is tuned; empty if it
            always is.
        declared: where the method's YAML declares it, for messages; None if an override asks for it.
    """

    key: str
    sweep: str
    distribution: BaseDistribution
    values: tuple[Any, ...] | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    declared: str | None = None

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether it is tuned, given the values of the keys before it; one whose own condition fails has no value."""
        return all(key in params and params[key] in values for key, values in self.when.items())

    @property
    def written(self) -> str:
        """Where its values were asked for, for messages."""
        return self.declared or f"{self.key}={self.sweep}"

    @property
    def extremes(self) -> list[Any]:
        """The configuration values that stand for all: each choice, or both ends."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(self.values or d.choices)
        assert isinstance(d, IntDistribution | FloatDistribution)
        return [d.low, d.high] if d.low < d.high else [d.low]

    @property
    def described(self) -> str:
        """The sweep and its condition, for people."""
        conditions = [f"{key}={','.join(map(str, values))}" for key, values in self.when.items()]
        return f"{self.sweep} when {' and '.join(conditions)}" if conditions else self.sweep

    def decode(self, sampled: Any) -> Any:
        """The configuration value of a sampled one."""
        if self.values is None or not isinstance(self.distribution, CategoricalDistribution):
            return sampled
        return self.values[self.distribution.choices.index(sampled)]

    def encode(self, value: Any) -> Any:
        """The sampled form of a configuration value.

        Raises:
            ValueError: the space does not contain it.
        """
        if self.values is not None and isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[self.values.index(value)]
        trial = optuna.trial.create_trial(
            value=0.0, params={self.key: value}, distributions={self.key: self.distribution}
        )  # validates
        return trial.params[self.key]

    @property
    def size(self) -> int | None:
        """How many values it has; None if they cannot be counted."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return len(list(d.choices))
        if isinstance(d, IntDistribution):
            return int((d.high - d.low) // d.step + 1)
        if isinstance(d, FloatDistribution) and d.step is not None:
            return round(float((d.high - d.low) / d.step)) + 1
        return None

    def grid(self) -> list[Any]:
        """All values, sampled form. Only for a finite parameter."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, d.step))
        assert isinstance(d, FloatDistribution)
        assert d.step is not None
        return [d.low + i * d.step for i in range(self.size or 0)]


def parameter(override: Override, default: Any = None, typed: bool = True, declared: str | None = None) -> Parameter:
    """Read a sweep override.

    Args:
        override: holds a sweep.
        default: the key's value in the configuration; an interval over a key that holds an integer holds integers.
        typed: whether the key takes nothing but integers if its default is one; else fractional ends make floats.
        declared: see `Parameter`.

    Raises:
        HarnessError: bounds, tags or choices that make no space.
    """
    key, text = override.get_key_element(), override.get_value_string()
    value = override.value()
    if getattr(value, "shuffle", False):
        raise HarnessError(f"{key}={text}: the sampler decides the order in which values are tried: leave shuffle out.")
    if isinstance(value, IntervalSweep):
        return Parameter(key, text, _interval(key, text, value, default, typed), declared=declared)
    if isinstance(value, RangeSweep):
        return Parameter(key, text, _range(key, text, value), declared=declared)
    if isinstance(value, ChoiceSweep):
        if value.tags:
            raise HarnessError(f"{key}={text}: a choice takes no tags; only an interval knows `log`.")
        values = tuple(dict.fromkeys(Override._convert_value(item) if not isinstance(item, list | dict) else str(item)
                                     for item in value.list))  # fmt: skip
        originals = tuple(Override._convert_value(item) for item in value.list)
        if len(values) != len(originals):
            raise HarnessError(f"{key}={text}: a choice is named twice.")
        return Parameter(key, text, CategoricalDistribution(values), originals, declared=declared)
    raise HarnessError(
        f"{key}={text} is no search space. Write choice(a,b), range(1,9) or tag(log,interval(1e-5,1e-2))."
    )


def conditional(space: Mapping[str, Parameter]) -> bool:
    """Whether which keys are tuned depends on the values of others."""
    return any(entry.when for entry in space.values())


def size(space: Mapping[str, Parameter]) -> int | None:
    """How many configurations a space holds: 1 if it is empty, None if they cannot be counted."""
    sizes = [entry.size for entry in space.values()]
    if None in sizes:
        return None
    return sum(1 for _ in configurations(space)) if conditional(space) else math.prod(size or 0 for size in sizes)


def configurations(space: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """Every configuration of a finite space, sampled form."""
    if not conditional(space):
        keys = sorted(space)
        for values in itertools.product(*(space[key].grid() for key in keys)):
            yield dict(zip(keys, values, strict=True))
        return
    found: list[dict[str, Any]] = [{}]
    for key, entry in space.items():
        found = [
            params | value
            for params in found
            for value in ([{key: value} for value in entry.grid()] if entry.active(params) else [{}])
        ]
    yield from found


def describe(space: Mapping[str, Parameter]) -> dict[str, str]:
    """A space in a form that can be stored and compared: key to distribution, JSON text, and its condition if any."""
    found = {key: distribution_to_json(entry.distribution) for key, entry in sorted(space.items())}
    for key, entry in space.items():
        if entry.when:
            conditions = {other: list(values) for other, values in sorted(entry.when.items())}
            found[key] += f" when {json.dumps(conditions)}"
    return found


def _interval(key: str, text: str, sweep: IntervalSweep, default: Any, typed: bool) -> BaseDistribution:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if unknown := set(sweep.tags) - TAGS:
        raise HarnessError(f"{key}={text}: unknown tag {', '.join(sorted(unknown))}. Known: {', '.join(sorted(TAGS))}.")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise HarnessError(f"{key}={text}: an interval needs two finite ends, not {low} and {high}.")
    if low >= high:
        raise HarnessError(f"{key}={text}: an interval needs low < high, not {low} >= {high}.")
    log = "log" in sweep.tags
    if log and low <= 0:
        raise HarnessError(f"{key}={text}: a logarithmic interval needs low above 0, not {low}.")
    integers = float(low).is_integer() and float(high).is_integer()
    whole = isinstance(default, int) and not isinstance(default, bool) and (typed or integers)
    if whole and not integers:
        raise HarnessError(f"{key}={text}: {key} holds an integer, so the interval's ends must be integers, too.")
    if whole or (isinstance(low, int) and isinstance(high, int)):
        low, high = int(low), int(high)
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(key: str, text: str, sweep: RangeSweep) -> BaseDistribution:
    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None
    assert stop is not None
    if sweep.tags:
        raise HarnessError(
            f"{key}={text}: a range takes no tags; only an interval knows `log`. For values at equal ratios list them: "
            f"{key}=1e-4,1e-3,1e-2."
        )
    if not all(map(math.isfinite, (start, stop, step))):
        raise HarnessError(f"{key}={text}: a range needs a finite start, stop and step.")
    if step <= 0 or start >= stop:
        raise HarnessError(f"{key}={text}: a range needs start < stop and a step above 0.")
    if (stop - start) / step > MOST:
        raise HarnessError(f"{key}={text}: a range lists at most {MOST:,} values; for more: interval({start},{stop}).")
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return IntDistribution(start, start + (stop - 1 - start) // step * step, step=step)
    values = [float(value) for value in sweep.range()]
    return FloatDistribution(values[0], values[-1], step=float(step))


def planned_trials(space: Mapping[str, Parameter], tune: TuneConfig) -> int | None:
    """Configurations that a cell tries; None: as many as its seconds allow."""
    finite, trials = size(space), tune.trials
    return trials if finite is None else finite if trials is None else min(trials, finite)


def check_sampler(tune: TuneConfig, cell: str, space: Mapping[str, Parameter]) -> None:
    """Refuse a space that the sampler cannot search.

    Raises:
        HarnessError: names the keys in the way.
    """
    if tune.sampler == "grid":
        endless = [entry for entry in space.values() if entry.size is None]
        if endless:
            named = ", ".join(f"{entry.key}={entry.sweep}" for entry in endless)
            raise HarnessError(
                f"tune.sampler=grid needs a finite space, but in {cell} these are continuous: {named}. Give choices, "
                f"e.g. {endless[0].key}=choice(1e-4,3e-4,1e-3), or another sampler (tpe, gp, random, qmc)."
            )
