"""The installed program, outside its repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from harness.records.run_spec import RunBatch
from harness.runs.execute import execute
from tests.helpers.small_dataset import ROOT, short_config, spec


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
    assert (installed / "harness" / "serve" / "playground.html").is_file()
    definitions = {path.name for path in (installed / "harness" / "reports").iterdir()}
    assert definitions == {"default.yaml", "pivot.yaml"}  # and no report that was made


@contextmanager
def serving(installed: Path, directory: Path, *arguments: str) -> Iterator[tuple[httpx.Client, list[str]]]:
    """A service of the installed program; gives a client, and what the start said."""
    command = [sys.executable, "-m", "harness", "serve", *arguments, "--port", "0", "--engine", "torch"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith("Serving on ")):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        with httpx.Client(base_url=lines[-1].split()[2], timeout=60) as client:
            yield client, lines
    finally:
        process.kill()
        process.wait()


def test_the_wheel_serves(installed: Path, tmp_path: Path, cache: Path) -> None:
    """In a clean directory: the page, and an answer."""
    (home := tmp_path / "home").mkdir()
    planned = spec(short_config(home, cache, "linear_probe"), home / "run")
    execute(RunBatch((planned,)))
    (place := tmp_path / "clean").mkdir()
    with serving(installed, place, str(planned.paths.model), "--cache-dir", str(cache)) as (client, _):
        assert "<title>Playground</title>" in client.get("/").text
        (answer,) = client.post("/predict", json={"text": "my parcel is late"}).json()["predictions"]
        assert answer["prediction"] == "delivery"
    assert [path.name for path in place.iterdir()] == ["feedback"]


@pytest.mark.long
def test_the_wheel_goes_from_a_run_to_an_answer(installed: Path, tmp_path: Path, cache: Path) -> None:
    """As README says, in a clean directory: a run, an export, a service that abstains and explains."""
    run(installed, tmp_path, "method=linear_probe", "device=cpu", f"cache_dir={cache}")
    (model,) = tmp_path.glob("runs/*/runs/*/*/model")
    shown = run(installed, tmp_path, "export", str(model), "--to", "exported", "--examples", "--cache-dir", str(cache))
    assert "To serve it: harness serve exported" in shown
    arguments = ("exported", "--precision", "0.5", "--cache-dir", str(cache))
    with serving(installed, tmp_path, *arguments) as (client, lines):
        assert any("of them right (wanted 0.5)" in line for line in lines)
        (answer,) = client.post("/predict", json={"text": "Where is my parcel?"}).json()["predictions"]
        assert answer["abstained"] is False and answer["prediction"]
        assert client.post("/explain", json={"text": "Where is my parcel?"}).json()["similar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported", "feedback", "runs"]


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
