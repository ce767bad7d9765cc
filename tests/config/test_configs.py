"""Every YAML composes and is what its name says; found recursively, so that no new one is forgotten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.cli import main
from harness.config.instantiate import build
from harness.models import PretrainedModel
from tests.helpers.small_dataset import ROOT

CONFIGS = sorted(path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml"))
TOLD = ("model/own.yaml", "model/own_image.yaml", "model/own_sound.yaml")  # need to be told which
GROUPS = [
    path
    for path in CONFIGS
    if path.parent.as_posix() not in (".", "hardware", "regularise", "augment", "tracker", "task/shared")
    and path.as_posix() not in TOLD
]
HARDWARE = sorted(path.stem for path in (ROOT / "conf" / "hardware").glob("*.yaml"))
REGULARISERS = sorted(path.stem for path in (ROOT / "conf" / "regularise").glob("*.yaml"))
AUGMENTATIONS = sorted(path.stem for path in (ROOT / "conf" / "augment").glob("*.yaml"))
PROFILES = sorted(path.stem for path in (ROOT / "slurm").glob("*.yaml"))
SWEEPS = sorted(path.stem for path in (ROOT / "sweeps").rglob("*.yaml"))


def composed(*overrides: str) -> dict[str, object]:
    main._register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_every_variant_composes_is_named_after_its_file_and_instantiates(path: Path) -> None:
    """The name in tables is the name on the command line."""
    group, name = path.parent.as_posix(), path.stem
    config = composed(f"{group}={name}")
    node = config[group]
    assert isinstance(node, dict)
    assert node["name"] == name
    built = build(node)
    if isinstance(built, PretrainedModel) and "HF_HUB_OFFLINE" in os.environ:
        assert built.pooling in ("mean", "cls", "last", "model", "pooler", "quarters")


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes(name: str) -> None:
    """Its parameters are overrides in the grammar of the command line."""
    assert composed(f"sweeps={name}")["sweep"]


@pytest.mark.parametrize("name", PROFILES)
def test_every_cluster_profile_composes(name: str) -> None:
    """It sends runs to Slurm, and its values keep the schema's rules."""
    from harness.design.prepared_cell import check_common
    from harness.errors import Problems

    main._register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [f"slurm={name}"])
    problems = Problems()
    check_common(config, problems)
    problems.raise_any()
    assert config.launch.kind == "slurm"


def test_what_the_schema_says_is_what_the_root_composes() -> None:
    """No key in the YAML that the schema does not know, and none missing."""
    from dataclasses import fields

    from harness.config.schema import Config

    assert set(composed()) == {field.name for field in fields(Config)}


@pytest.mark.parametrize("name", HARDWARE)
def test_every_machine_composes_is_named_after_its_file_and_has_a_price(name: str) -> None:
    """The price is all that one is for."""
    node = composed(f"hardware={name}")["hardware"]
    assert isinstance(node, dict)
    assert node["name"] == name
    assert node["dollars_per_hour"] >= 0


@pytest.mark.parametrize("name", REGULARISERS)
def test_every_regularizer_switches_on_one_key_of_training(name: str) -> None:
    """Over what the method sets, and below what the command line does."""
    train, plain = composed(f"regularise={name}")["train"], composed()["train"]
    assert isinstance(train, dict) and isinstance(plain, dict)
    changed = {key for key in train if train[key] != plain[key]}
    assert len(changed) == (0 if name == "none" else 1)
    for key in changed:
        fixed = composed(f"regularise={name}", f"train.{key}={plain[key] or 0}")["train"]
        assert isinstance(fixed, dict) and fixed[key] == (plain[key] or 0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_is_named_after_its_file_and_instantiates(name: str) -> None:
    """Each stands under its own name, so that several follow one another."""
    needed = ["augment.distil.teacher_path=runs/teacher"] if name == "distil" else []
    node = composed(f"augment={name}", *needed)["augment"]
    assert isinstance(node, dict)
    assert [*node] == ([] if name == "none" else [name])
    for part in node.values():
        assert build(part).name == name


def test_several_of_a_group_combine() -> None:
    """In the order named."""
    config = composed("regularise=[r_drop,ema,layer_decay]", "augment=[noise,eda]", "augment.eda.copies=4")
    train, augment = config["train"], config["augment"]
    assert isinstance(train, dict) and isinstance(augment, dict)
    assert train["r_drop"] > 0 and train["ema"] > 0 and train["layer_decay"] < 1
    assert [*augment] == ["noise", "eda"] and augment["eda"]["copies"] == 4
