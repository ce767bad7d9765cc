"""The copy of the code that a study runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import config_root
from harness.system import code_snapshot, machine
from tests.helpers.small_dataset import ROOT


def python(path: Path, place: Path, *arguments: str) -> str:
    """Run Python with a snapshot first on its path, as a job does."""
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def own_package(place: Path) -> None:
    """A user's package with everything that may lie about in one, and a single module."""
    package = place / "own_methods"
    for folder in ("__pycache__", "runs/a", ".git", "sub/runs", "env"):
        (package / folder).mkdir(parents=True)
    (package / "__init__.py").write_text("WORD = 'first'\n")
    (package / "sub/runs/__init__.py").write_text("")
    (package / "page.html.j2").write_text("{{ page }}")
    (package / "LICENSE").write_text("as is")
    (package / "env/pyvenv.cfg").write_text("")
    for left_out in ("__pycache__/a.py", "runs/a/record.json", ".git/config.py", ".hidden.py", "data.csv", "env/a.py"):
        (package / left_out).write_text("x")
    (package / "large.json").write_bytes(b" " * (5 * 2**20 + 1))
    (package / "binary").write_bytes(b" " * (2**16 + 1))
    (place / "own_module.py").write_text("WORD = 'single'\n")


def test_a_snapshot_is_the_code_the_configs_and_the_users_packages(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing that is installed, compiled, hidden, large or a result."""
    own_package(place)
    monkeypatch.syspath_prepend(place)
    taken = code_snapshot.take(Path("runs/study"), ["own_methods.part", "own_module", "rich", "json", "is_not_there"])
    assert taken.parent == Path("runs/study/code")
    files = {path.relative_to(taken).as_posix() for path in taken.rglob("*") if path.is_file()}
    own = {name for name in files if name.startswith("own_")}
    assert own == {"own_module.py"} | {
        f"own_methods/{name}" for name in ("__init__.py", "sub/runs/__init__.py", "page.html.j2", "LICENSE")
    }
    program = {
        path.relative_to(ROOT).as_posix()
        for name in ("harness", "hydra_plugins", *code_snapshot.CONFIGS)
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    assert files - own - {"snapshot.json", "diff.patch"} == program
    assert "own_methods" not in sys.modules
    assert [path.name for path in taken.parent.iterdir()] == [taken.name]


def test_the_name_depends_on_the_content_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code is copied once; an edited line makes another copy and leaves the first alone."""
    own_package(place)
    monkeypatch.syspath_prepend(place)
    study = place / "runs/study"
    first = code_snapshot.take(study, ["own_methods"])
    before = time.process_time()
    assert code_snapshot.take(study, ["own_methods"]) == first
    assert code_snapshot.take(place / "runs/other", ["own_methods"]).name == first.name
    assert time.process_time() - before < 2
    (place / "own_methods/__init__.py").write_text("WORD = 'second'\n")
    second = code_snapshot.take(study, ["own_methods"])
    assert second != first
    show = "import own_methods; print(own_methods.WORD, own_methods.__file__)"
    assert python(first, place, "-c", show) == f"first {first / 'own_methods/__init__.py'}"
    assert python(second, place, "-c", show).startswith("second ")


def test_a_study_keeps_its_code_when_the_program_is_edited(place: Path) -> None:
    """Its own copy is what is imported, wherever the command runs; the configs are the copy's, too."""
    taken = code_snapshot.take(place / "runs/study", []).resolve()
    show = "import harness; from harness.cli.main import config_root; print(harness.__file__, config_root())"
    assert python(taken, place, "-c", show) == f"{taken / 'harness/__init__.py'} {taken}"
    plan = python(taken, place, "-m", "harness", "-m", "plan=true", "calibrate=false", "method=zero_shot")
    assert "demo.minilm.zero_shot" in plan


def test_an_installed_program_is_copied_with_the_configs_inside_it(place: Path) -> None:
    """There they lie in the package. A copy of a copy is the same copy."""
    installed = place / "site"
    shutil.copytree(ROOT / "harness", installed / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "hydra_plugins", installed / "hydra_plugins")
    for name in code_snapshot.CONFIGS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, installed / "harness" / name)
    take = (
        "import sys; from pathlib import Path; from harness.system.code_snapshot import take; "
        "print(take(Path(sys.argv[1]), []))"
    )
    taken = Path(python(installed, place, "-c", take, str(place / "study")))
    assert facts_of(taken)["commit"] is None
    show = "from harness.cli.main import config_root; print(config_root())"
    assert python(taken, place, "-c", show) == str(taken.resolve() / "harness")
    assert (taken / "harness/conf/config.yaml").is_file()
    again = Path(python(taken, place, "-c", take, str(place / "again")))
    assert again.name == taken.name


def repository(place: Path) -> Path:
    """The program in a git repository of its own."""
    root = place / "checkout"
    for name in ("harness", "hydra_plugins", *code_snapshot.CONFIGS):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "notes").write_text("of no matter")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    return root


def test_provenance_names_the_commit_and_the_difference(place: Path) -> None:
    """A record of a run from the copy says which code it was, although the copy lies in no repository."""
    root = repository(place)
    take = (
        "import sys; from pathlib import Path; from harness.system.code_snapshot import take; "
        "print(take(Path(sys.argv[1]), []))"
    )
    tell = "import json; from harness.system.machine import versions; print(json.dumps(versions()))"
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commit = head.stdout.strip()
    (root / "notes").write_text("changed, but not copied")
    clean = Path(python(root, place, "-c", take, str(place / "study")))
    facts = facts_of(clean)
    assert (facts["commit"], facts["dirty"], facts["diff_sha256"]) == (commit, False, None)
    assert facts["code"] == clean.name
    assert facts["versions"]["harness"]
    assert not (clean / "diff.patch").exists()
    assert json.loads(python(clean, place, "-c", tell))["commit"] == commit

    with (root / "harness/__init__.py").open("a") as file:
        file.write("# edited\n")
    dirty = Path(python(root, place, "-c", take, str(place / "study")))
    assert dirty.name != clean.name
    assert "# edited" in (dirty / "diff.patch").read_text()
    assert "notes" not in (dirty / "diff.patch").read_text()
    told = json.loads(python(dirty, place, "-c", tell))
    assert told["commit"] == f"{commit}-dirty"
    assert told["code"] == dirty.name
    assert told["diff_sha256"] == facts_of(dirty)["diff_sha256"]
    again = Path(python(dirty, place, "-c", take, str(place / "again")))
    assert facts_of(again)["commit"] == commit
    assert (again / "diff.patch").read_bytes() == (dirty / "diff.patch").read_bytes()


def test_the_snapshot_and_the_command_line_agree_where_configs_lie() -> None:
    """Two places know the rule."""
    package = Path(code_snapshot.harness.__file__).resolve().parent
    assert config_root() == (package if (package / "conf").is_dir() else package.parent)


def test_what_the_scheduler_says_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing outside of a job."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert machine.scheduler() == {}
    for name, value in (
        ("SLURM_JOB_ID", "17"), ("SLURM_ARRAY_JOB_ID", "16"), ("SLURM_ARRAY_TASK_ID", "3"), ("SLURMD_NODENAME", "n1"),
        ("SLURM_RESTART_COUNT", "2"), ("SLURM_JOB_PARTITION", "gpu"), ("CUDA_VISIBLE_DEVICES", "0"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert machine.scheduler() == {
        "slurm": {
            "job_id": "17", "array_job_id": "16", "array_task_id": "3", "node": "n1", "restarts": 2,
            "partition": "gpu", "cuda_visible_devices": "0",
        }
    }  # fmt: skip
    monkeypatch.delenv("SLURM_RESTART_COUNT")
    assert machine.scheduler()["slurm"]["restarts"] == 0


def facts_of(taken: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((taken / "snapshot.json").read_text(encoding="utf-8"))
    return content
