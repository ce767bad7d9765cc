"""A section `hydra` in a user's own YAML is told, whatever group the YAML belongs to and however it is composed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Main = Callable[..., tuple[int, str]]
GLOBAL = "# @package _global_\n"


@pytest.mark.parametrize(
    ("file", "content", "arguments", "says"),
    [
        ("method/own.yaml", GLOBAL + "defaults: [nearest_mean]\nhydra: {job: {chdir: true}}\n", ("-m", "method=own"),
         "hydra.job.chdir=True: this key of Hydra has no effect here"),
        ("method/own.yaml", GLOBAL + "defaults: [nearest_mean]\nhydra: {job: {env_set: {A: b}}}\n", ("method=own",),
         "+slurm.environment.NAME=value. It is set in a YAML: remove it there."),
        ("sweeps/own.yaml", GLOBAL + "hydra: {sweep: {dir: there}}\n", ("-m", "sweeps=own", "method=lda"),
         "hydra.sweep.dir=there: "),
        ("sweeps/own.yaml", GLOBAL + "hydra: {sweeper: {n_trials: 20}}\n", ("-m", "sweeps=own"),
         "Write tune.trials=<value>"),
        ("task/own.yaml", "defaults: [demo]\nhydra: {job: {chdir: true}}\n", ("-m", "task=own", "method=lda"),
         "remove its section `hydra`"),
    ],
)  # fmt: skip
def test_a_section_of_hydras_is_refused(
    main: Main, place: Path, file: str, content: str, arguments: tuple[str, ...], says: str
) -> None:
    """It would have no effect; the sentence says what has."""
    path = place / "own" / file
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    code, printed = main(*arguments, "--config-dir", "own", "plan=true")
    assert code == 2, printed
    assert says in printed, printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("setting", ["run: {dir: there/in}", "output_subdir: there", "job: {chdir: true}"])
@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_refused_directory_is_not_made(main: Main, place: Path, setting: str, mode: tuple[str, ...]) -> None:
    """Hydra would make it before the program is called."""
    path = place / "own" / "method" / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"{GLOBAL}defaults: [nearest_mean]\nhydra: {{{setting}}}\n", encoding="utf-8")
    code, printed = main(*mode, "method=own", "--config-dir", "own", "plan=true")
    assert code == 2, printed
    assert "It is set in a YAML: remove it there." in printed, printed
    assert [each.name for each in place.iterdir()] == ["own"]
