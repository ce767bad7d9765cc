"""A trial's configuration, resolved from its tuned values alone, equals the whole configuration resolved anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.kinds import named
from harness.config.schema import TrainConfig
from harness.design.trial_config import TrialConfigs

CONFIG = """
seed: 0
slurm: {environment: {TOKEN: secret}, mem_gb: '${method.r}'}
method:
  kind: peft
  r: 8
  rank: {a.b: '${method.r}', c: 1}
  config: {lora_alpha: '${method.r}', twice: '${method.config.lora_alpha}', layers: ['${method.r}', 2], all: '${task}'}
  nothing: null
  targets: [query]
task: {name: x, metric: '${oc.select:method.metric,accuracy}'}
"""
VALUES: list[dict[str, Any]] = [
    {},
    {"method.r": 16, "train.lr": 1},
    {"method.r": 16, "train.lr": 1e-2, "method.targets": ["key", "value"]},
    {"train.lr": 2e-3},  # a branch of the space without method.r: the default counts again
    {"method.r": None},
    {"method.config.lora_alpha": 3},  # was an interpolation, and another follows it
    {"method.nothing.new": 1},
    {"method.rank.c": 2, "task.name": "y"},
    {"method.config": "replaced"},
    {"train.lr": 5e-4, "method.r": 4},
]


def whole(config: DictConfig, values: dict[str, Any]) -> dict[str, Any]:
    """What is right: all set in a copy, and all resolved."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    del plain["slurm"]
    return named(plain)


@pytest.fixture
def config() -> DictConfig:
    made = OmegaConf.create(CONFIG)
    assert isinstance(made, DictConfig)
    made.train = OmegaConf.structured(TrainConfig)
    return made


def test_each_trial_in_turn_has_what_the_whole_configuration_has(config: DictConfig) -> None:
    configs = TrialConfigs(config)
    before = OmegaConf.to_yaml(config)
    for values in (*VALUES, *reversed(VALUES)):
        found = configs.resolve(values)
        assert found == whole(config, values), values
        found["train"]["lr"] = found["method"]["targets"] = "the caller's own"
    assert OmegaConf.to_yaml(config) == before


def test_a_value_that_does_not_suit_changes_no_later_trial(config: DictConfig) -> None:
    configs = TrialConfigs(config)
    with pytest.raises(OmegaConfBaseException):
        configs.resolve({"method.r": 2, "train.epochs": "many"})
    assert configs.resolve({"train.lr": 1e-3}) == whole(config, {"train.lr": 1e-3})


def test_a_key_without_a_value_may_be_tuned_and_must_be(config: DictConfig) -> None:
    config.method.r = "???"
    configs = TrialConfigs(config)
    assert configs.resolve({"method.r": 2}) == whole(config, {"method.r": 2})
    with pytest.raises(OmegaConfBaseException):
        configs.resolve({"train.lr": 1e-3})
