"""Hydra's sweep grammar as search spaces."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from harness.design.search_space import Parameter, parameter, size
from harness.errors import HarnessError


def read(line: str, default: object = None) -> Parameter:
    return parameter(OverridesParser.create().parse_override(line), default)


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("train.lr=tag(log,interval(1e-5,1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
        ("train.dropout=interval(0.0,0.5)", FloatDistribution(0.0, 0.5)),
        ("train.epochs=int(interval(1,8))", IntDistribution(1, 8)),
        ("train.epochs=range(1,9,2)", IntDistribution(1, 7, step=2)),
        ("train.warmup=range(0.0,0.5,0.25)", FloatDistribution(0.0, 0.25, step=0.25)),
        ("train.batch_size=16,32", CategoricalDistribution((16, 32))),
        ("train.schedule=choice(linear,cosine)", CategoricalDistribution(("linear", "cosine"))),
    ],
)
def test_each_form_of_the_grammar_has_its_distribution(line: str, distribution: object) -> None:
    """Numbers keep their type, `log` its scale, ranges exclude their end."""
    assert read(line).distribution == distribution


def test_an_interval_over_an_integer_key_holds_integers() -> None:
    """Hydra reads every interval as floats; a batch size of 17.3 would be no use."""
    assert read("train.epochs=interval(1,8)", default=3).distribution == IntDistribution(1, 8)
    assert read("train.r=tag(log,interval(1,64))", default=8).distribution == IntDistribution(1, 64, log=True)
    with pytest.raises(HarnessError, match="must be integers"):
        read("train.epochs=interval(1.5,8)", default=3)


def test_choices_that_are_lists_survive_the_round_trip() -> None:
    """Optuna stores only scalars; the configuration gets the list back."""
    entry = read("method.config.target_modules=choice([query,value],[query,key,value])")
    sampled = entry.encode(["query", "key", "value"])
    assert isinstance(sampled, str)
    assert entry.decode(sampled) == ["query", "key", "value"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.lr=interval(1e-2,1e-2)", "low < high, not 0.01 >= 0.01"),
        ("train.lr=interval(2,1)", "low < high, not 2.0 >= 1.0"),
        ("train.lr=tag(log,interval(0,1))", "low above 0"),
        ("train.lr=tag(lgo,interval(0,1))", "unknown tag lgo. Known: log"),
        ("train.epochs=range(5,2)", "start < stop"),
        ("train.batch_size=16,16", "named twice"),
    ],
)
def test_a_space_that_is_none_is_refused(line: str, message: str) -> None:
    """The message repeats what was written and states the rule."""
    with pytest.raises(HarnessError, match=message) as caught:
        read(line)
    assert line in str(caught.value)


def test_sizes_multiply_and_a_continuous_key_makes_a_space_endless() -> None:
    """An empty space has one configuration."""
    small = {"a": read("a=1,2,3"), "b": read("b=range(0,4)")}
    assert size({}) == 1
    assert size(small) == 12
    assert size(small | {"c": read("c=interval(0.0,1.0)")}) is None
