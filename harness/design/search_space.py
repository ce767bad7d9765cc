"""Search spaces: Hydra's sweep grammar as Optuna distributions.

| grammar | distribution |
|---|---|
| `a,b,c`, `choice(a,b,c)` | categorical |
| `range(1,9)`, `range(1,9,2)` | integers, end excluded |
| `range(0.0,1.0,0.25)` | floats with that step, end excluded |
| `interval(0.0,0.5)`, `tag(log,interval(1e-5,1e-2))` | floats |
| the same over a key that takes an integer, `int(interval(1,64))` | integers, both ends included |

A space may be conditional: an entry with `when` is sampled only if earlier keys have certain values. Conditional spaces
are sampled define-by-run.
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
MOST = 1_000_000  # largest number of values of a range
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Parameter:
    """One tuned key.

    Attributes:
        key: the override key, e.g. `train.lr`.
        sweep: the sweep as written, for display.
        distribution: what Optuna samples from. Choices that are lists or mappings are sampled as their text.
        values: the choices of a categorical parameter; None for numeric ones.
        when: the condition: earlier keys of the space, each with the values (sampled form) for which this one is tuned;
            empty if it always is.
        declared: where the method's YAML declares it, for messages; None if it comes from an override.
    """

    key: str
    sweep: str
    distribution: BaseDistribution
    values: tuple[Any, ...] | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    declared: str | None = None

    def active(self, params: Mapping[str, Any]) -> bool:
        """Return whether it is tuned, given the values of earlier keys; keys whose condition failed have no value."""
        return all(key in params and params[key] in values for key, values in self.when.items())

    @property
    def written(self) -> str:
        """Where the values are written, for messages."""
        return self.declared or f"{self.key}={self.sweep}"

    @property
    def extremes(self) -> list[Any]:
        """The configuration values that are checked for all: each choice, or both ends of the interval."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(self.values or d.choices)
        assert isinstance(d, IntDistribution | FloatDistribution)
        return [d.low, d.high] if d.low < d.high else [d.low]

    @property
    def described(self) -> str:
        """The sweep and its condition, for display."""
        conditions = [f"{key}={','.join(map(str, values))}" for key, values in self.when.items()]
        return f"{self.sweep} when {' and '.join(conditions)}" if conditions else self.sweep

    def decode(self, sampled: Any) -> Any:
        """Return the configuration value of a sampled value."""
        if self.values is None or not isinstance(self.distribution, CategoricalDistribution):
            return sampled
        return self.values[self.distribution.choices.index(sampled)]

    def encode(self, value: Any) -> Any:
        """Return the sampled form of a configuration value.

        Raises:
            ValueError: the distribution does not contain the value.
        """
        if self.values is not None and isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[self.values.index(value)]
        trial = optuna.trial.create_trial(
            value=0.0, params={self.key: value}, distributions={self.key: self.distribution}
        )  # validates
        return trial.params[self.key]

    @property
    def size(self) -> int | None:
        """Number of values; None if the parameter is continuous."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return len(list(d.choices))
        if isinstance(d, IntDistribution):
            return int((d.high - d.low) // d.step + 1)
        if isinstance(d, FloatDistribution) and d.step is not None:
            return round(float((d.high - d.low) / d.step)) + 1
        return None

    def grid(self) -> list[Any]:
        """Return all values of a finite parameter, in sampled form."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, d.step))
        assert isinstance(d, FloatDistribution)
        assert d.step is not None
        return [d.low + i * d.step for i in range(self.size or 0)]


def parameter(override: Override, default: Any = None, typed: bool = True, declared: str | None = None) -> Parameter:
    """Make a parameter from a sweep override.

    Args:
        override: the override, which holds a sweep.
        default: the key's value in the configuration; if it is an integer, an interval has integer values.
        typed: whether a key with an integer default takes integers only; otherwise fractional ends make floats.
        declared: see `Parameter`.

    Raises:
        HarnessError: the bounds, tags or choices are invalid.
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
    """Return whether a space is conditional: the values of some keys decide which others are tuned."""
    return any(entry.when for entry in space.values())


def size(space: Mapping[str, Parameter]) -> int | None:
    """Return the number of configurations of a space: 1 if it is empty, None if it is infinite."""
    sizes = [entry.size for entry in space.values()]
    if None in sizes:
        return None
    return sum(1 for _ in configurations(space)) if conditional(space) else math.prod(size or 0 for size in sizes)


def configurations(space: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """Yield every configuration of a finite space, in sampled form."""
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
    """Return a space in a form to store and compare: by key, the distribution as JSON text, and any condition."""
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
    """Return the number of configurations that a cell tries; None: as many as its seconds allow."""
    finite, trials = size(space), tune.trials
    return trials if finite is None else finite if trials is None else min(trials, finite)


def check_sampler(tune: TuneConfig, cell: str, space: Mapping[str, Parameter]) -> None:
    """Refuse a space that the sampler cannot search.

    Raises:
        HarnessError: the grid sampler and continuous keys, which the message names.
    """
    if tune.sampler == "grid":
        endless = [entry for entry in space.values() if entry.size is None]
        if endless:
            named = ", ".join(f"{entry.key}={entry.sweep}" for entry in endless)
            raise HarnessError(
                f"tune.sampler=grid needs a finite space, but in {cell} these are continuous: {named}. Give choices, "
                f"e.g. {endless[0].key}=choice(1e-4,3e-4,1e-3), or another sampler (tpe, gp, random, qmc)."
            )
