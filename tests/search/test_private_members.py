"""Private members of Optuna are used in one module only, so that an update of Optuna can break one module only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import optuna

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = ROOT / "harness/search/storage.py"


def private_members() -> set[str]:
    """Names of the private members of Optuna's objects."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    trial = study.ask()
    objects = [study, trial, study.trials[0], study.sampler, study.pruner, trial.storage]
    return {name for each in objects for name in dir(each) if name.startswith("_") and not name.startswith("__")}


def uses(path: Path, names: set[str]) -> Iterator[str]:
    """Uses of such a member of another object, and methods of that name in classes that inherit from Optuna's."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in names:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        elif isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("optuna.") for base in node.bases):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in names:
                    yield f"{path.relative_to(ROOT)}:{method.lineno} {node.name}.{method.name}"


def test_private_members_of_optuna_are_used_in_one_module() -> None:
    """In every package, whether the module imports Optuna or gets its objects from another."""
    names = private_members()
    assert {"_storage", "_trial_id", "_suggest", "_get_trials", "_study_id"} <= names
    modules = [path for package in ("harness", "hydra_plugins") for path in (ROOT / package).rglob("*.py")]
    assert [use for path in modules if path != ALLOWED for use in uses(path, names)] == []
    assert list(uses(ALLOWED, names)), "the search finds none where there are some"
