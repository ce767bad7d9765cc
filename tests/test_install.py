"""The installed program, outside its repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.small_dataset import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's content and nothing of the repository."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT], check=True)
    (wheel,) = wheels.glob("harness-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", target, wheel], check=True)
    return target


def run(installed: Path, directory: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_configs_sweeps_and_the_sweeper(installed: Path, tmp_path: Path) -> None:
    """In the package, where nothing of the repository is in reach."""
    code = "import harness; print(harness.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(installed))
    assert "banking77" in run(installed, tmp_path, "--help")
    assert "demo.minilm.lora" in run(installed, tmp_path, "-m", "plan=true", "calibrate=false", "method=lora")
    assert "Predict for the texts" in run(installed, tmp_path, "predict", "--help")
    metadata = next(installed.glob("harness-*.dist-info"))
    assert "harness = harness.__main__:main" in (metadata / "entry_points.txt").read_text(encoding="utf-8")
    assert "Apache License" in (metadata / "licenses" / "LICENSE").read_text(encoding="utf-8")
    definitions = {path.name for path in (installed / "harness" / "reports").iterdir()}
    assert definitions == {"default.yaml", "pivot.yaml"}  # and no report that was made


def test_a_directory_of_ones_own_joins_the_search_path(installed: Path, tmp_path: Path) -> None:
    """Its tasks, methods and sweeps stand beside the built-in ones."""
    (tmp_path / "my/sweeps").mkdir(parents=True)
    (tmp_path / "my/method").mkdir()
    (tmp_path / "my/sweeps/mine.yaml").write_text(
        "# @package _global_\nsweep: {name: mine, params: {method: 'lora,lora_wide'}}\n"
    )
    (tmp_path / "my/method/lora_wide.yaml").write_text(
        "# @package _global_\ndefaults: [lora, _self_]\nmethod: {name: lora_wide, config: {r: 64}}\n"
    )
    shown = run(installed, tmp_path, "-m", "--config-dir", "my", "plan=true", "calibrate=false", "sweeps=mine")
    assert "Plan of study mine-" in shown
    assert "demo.minilm.lora_wide" in shown
