"""Kinds: what stands for the classes that come with the program, in files of every age."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class

from harness.config import kinds
from harness.config.instantiate import build
from harness.config.kinds import KINDS, check_kinds, kind_of, named, signed
from harness.errors import HarnessError, Problems
from harness.records.signature import METHOD_NUMERICS, signature
from tests.helpers.small_dataset import ROOT, config

Main = Callable[..., tuple[int, str]]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_there(name: str) -> None:
    """The table follows when a class moves."""
    assert get_class(KINDS[name].target).__name__ == KINDS[name].target.rpartition(".")[2]


def test_configs_name_kinds_not_places() -> None:
    """Paths of modules stay out of what users copy and what runs are signed with."""
    shipped = sorted((ROOT / "conf").rglob("*.yaml"))
    assert len(shipped) > 80
    own = [path for path in shipped if path.name != "hydra_defaults.yaml"]  # Hydra itself takes paths
    assert not [path for path in own if "_target_" in re.sub(r"#.*", "", path.read_text(encoding="utf-8"))]
    assert set(METHOD_NUMERICS) <= {name for name, kind in KINDS.items() if kind.section == "method"}


@pytest.mark.parametrize("name", kinds.PEFT_TYPES)
def test_types_of_peft_are_those_of_the_library(name: str) -> None:
    """Under the names that it gives them; EVA's configuration is a part of LoRA's."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    path = kinds.PEFT_TYPES[name]
    known = {kind.value: f"peft.{each.__name__}" for kind, each in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    assert known.get(name, "peft.EvaConfig") == path
    node = {"kind": "eva", "config": {"peft_type": "LORA", "eva_config": {"peft_type": name, "rho": 1.0}}}
    paths = {"_target_": "peft.LoraConfig", "eva_config": {"_target_": path, "rho": 1.0}}
    assert kinds.with_target(node)["config"] == signed({"method": node})["method"]["config"] == paths
    assert named({"method": {"kind": "eva", "config": paths}})["method"] == node


def test_a_class_that_moves_keeps_its_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under its kind, its new path and its first one, which is what earlier files hold."""
    base = config(tmp_path, tmp_path, method="last_layers")
    before = signature(base, "tune", "data", "model")
    moved = replace(KINDS["last_layers"], target="elsewhere.Renamed")
    monkeypatch.setitem(KINDS, "last_layers", moved)
    monkeypatch.setitem(kinds._BY_PATH, "elsewhere.Renamed", "last_layers")
    method = {key: value for key, value in base["method"].items() if key != "kind"}
    for name in ({"kind": "last_layers"}, {"_target_": "elsewhere.Renamed"}, {"_target_": moved.signed}):
        config_ = {**base, "method": {**name, **method}}
        assert signature(config_, "tune", "data", "model") == before
        assert named(config_)["method"]["kind"] == "last_layers"
        assert kinds.with_target(config_["method"])["_target_"] == "elsewhere.Renamed"


def test_a_kind_that_came_later_is_signed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no path to begin with, so it never depends on one."""
    monkeypatch.setitem(KINDS, "pairs", kinds.Kind("task", "harness.tasks.Pairs"))
    assert signed({"task": {"kind": "pairs", "a": 1}}) == {"task": {"kind": "pairs", "a": 1}}


def test_a_class_of_ones_own_is_named_and_signed_by_its_path() -> None:
    """Also where its YAML starts from one that has a kind."""
    own = {"method": {"kind": "peft", "_target_": "mine.Method"}, "augment": {"a": {"_target_": "mine.Words", "x": 1}}}
    assert kind_of(own["method"]) == "mine.Method"
    expected = {"method": {"_target_": "mine.Method"}, "augment": own["augment"]}
    assert signed(own) == named(own) == expected


def test_files_of_every_age_read_alike(tmp_path: Path) -> None:
    """Old ones hold paths: what is built, signed and shown is the same."""
    new = config(tmp_path, tmp_path, method="lora")
    old = deepcopy(new)
    for section in ("task", "model", "method"):
        old[section] = signed(new)[section]
        assert "kind" not in old[section] and old[section]["_target_"].startswith("harness.")
        assert type(build(old[section])) is type(build(new[section]))
    assert named(old) == named(new) == new
    assert signature(old, "tune", "d", "m") == signature(new, "tune", "d", "m")


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"kind": "text_clasification"}, "there is no such kind. Did you mean text_classification"),
        ({"name": "x"}, "A kind is missing"),
        ({"kind": "peft", "name": "x", "config": {"peft_type": "LORRA"}}, "peft_type=LORRA: there is no such type"),
        ({"kind": "lora", "_target_": "os.system"}, "outside the trusted packages"),
    ],
)
def test_what_names_nothing_is_told(node: dict[str, Any], says: str) -> None:
    with pytest.raises(HarnessError, match=says.replace("?", r"\?")):
        build(node)


def test_a_kind_of_another_section_is_told() -> None:
    """A method is no task."""
    problems = Problems()
    node = {"task": {"kind": "lda"}, "augment": {"eda": {"kind": "edda"}}, "model": {"kind": "pretrained"}}
    assert not check_kinds(node, problems)
    assert [message.partition(":")[0] for message in problems.messages] == ["task.kind=lda", "augment.eda.kind=edda"]
    assert "Did you mean eda?" in problems.messages[1]


@pytest.mark.parametrize("arguments", [("-m", "method=lora", "calibrate=false"), ("method=lora",)])
def test_the_command_line_tells_a_kind_that_is_not_there(main: Main, arguments: tuple[str, ...]) -> None:
    """Before anything is loaded."""
    code, printed = main(*arguments, "plan=true", "task.kind=peft")
    assert code == 2
    known = ", ".join(sorted(name for name, kind in KINDS.items() if kind.section == "task")[:3])
    assert f"task.kind=peft: there is no such kind of task. Known: {known}, " in " ".join(printed.split())
