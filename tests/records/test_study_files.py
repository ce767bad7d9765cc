"""The files of a study: their forms, and that one module names them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from harness.records.files import load_yaml
from harness.records.study_files import DamagedFile, RunPaths, StudyPaths

ROOT = Path(__file__).resolve().parents[2]
OWNER = "harness/records/study_files.py"
# What else has such a name: a file of another program, or a folder with the same word in it.
ELSEWHERE = {"config.yaml": {"harness/cli/main.py"}}


def _texts(path: Path) -> set[str]:
    """Return the texts of a module that are no docstrings and no sentences."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value.strip()
    }


def test_no_other_module_names_a_file_of_a_study() -> None:
    """Names are spelled in study_files.py only, except in docstrings and in sentences for users."""
    study, run = StudyPaths(Path("s")), RunPaths(Path("r"))
    study_names = {
        path.name
        for path in (
            study.sweep, study.choices, study.importances, study.plan, study.outcome, study.lock, study.holder,
            study.coordinator, study.journal, study.compacted, run.record, run.config, run.metrics, run.predictions,
            run.log, run.failures,
        )
    }  # fmt: skip
    names = re.compile("|".join(rf"(?:^|/){re.escape(name)}$" for name in [*study_names, "lease.json", "harness.json"]))
    wrong = [
        f"{name}: {text!r}"
        for path in sorted((ROOT / "harness").rglob("*.py"))
        if (name := str(path.relative_to(ROOT))) != OWNER
        for text in _texts(path)
        if names.search(text) and name not in ELSEWHERE.get(text, ())
    ]
    assert not wrong, "name it by harness.records.study_files"


def test_one_yaml_loader() -> None:
    """YAML is parsed by harness.records.files, which knows the fast parser."""
    users = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "harness").rglob("*.py"))
        if "tasks" not in path.parts  # the texts of the demo, which belong to its family
        and re.search(r"CSafeLoader|yaml\.(safe_)?load\(", path.read_text(encoding="utf-8"))
    ]
    assert users == ["harness/records/files.py"]


def test_sweep_and_its_copy(tmp_path: Path) -> None:
    """The copy in JSON is read while sweep.yaml is unchanged, and only then."""
    paths = StudyPaths(tmp_path)
    assert paths.read_sweep() is None
    paths.write_sweep({"name": "s", "cells": []})
    paths.keep_sweep({"name": "s", "cells": []})
    assert not paths.compacted.exists()  # nothing is created for it
    paths.compacted.mkdir()
    paths.keep_sweep({"name": "s", "cells": []})
    assert paths.read_sweep() == {"name": "s", "cells": []}
    paths.write_sweep({"name": "another", "cells": []})
    assert paths.read_sweep() == {"name": "another", "cells": []}
    paths.sweep.write_text("[1, 2", encoding="utf-8")
    with pytest.raises(DamagedFile):
        paths.read_sweep()
    paths.sweep.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(DamagedFile, match="no mapping"):
        paths.read_sweep()


def test_choices_of_other_cells_stay(tmp_path: Path) -> None:
    """A command that names some cells of a study keeps the choices of the others."""
    paths = StudyPaths(tmp_path)
    paths.write_choices({"a": {"trial": 1}, "b": None})
    paths.write_choices({"b": {"trial": 2}})
    assert paths.read_choices() == {"a": {"trial": 1}, "b": {"trial": 2}}
    paths.choices.write_text("{", encoding="utf-8")
    with pytest.raises(DamagedFile):
        paths.read_choices()


def test_a_run_and_its_config(tmp_path: Path) -> None:
    """Runs with a record are found in order; a damaged configuration is empty."""
    study = StudyPaths(tmp_path)
    for name in ("b/one", "a/two", "a/one"):
        run = study.run(name)
        run.write_config({"task": {"name": "é"}})
        if name != "a/two":
            run.record.touch()
    assert [run.directory.relative_to(study.runs).as_posix() for run in study.recorded()] == ["a/one", "b/one"]
    assert study.run("a/one").read_config() == {"task": {"name": "é"}}
    study.run("a/one").config.write_text("- a", encoding="utf-8")
    assert study.run("a/one").read_config() == study.run("none/none").read_config() == {}
    assert load_yaml("a: 1e-3") == {"a": "1e-3"}  # as yaml.safe_load
