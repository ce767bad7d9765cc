"""The layout: every module is on the map, files and folders stay small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOSE = 5  # modules directly in harness/, besides __init__ and __main__
LINES = 400
FILES = 15


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / "harness").rglob("*.py") if "__pycache__" not in path.parts)


def test_every_module_is_on_the_map() -> None:
    """docs/architecture.md names each file once, in its folder, and no file that is gone."""
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    named, folder = [], ""
    for line in tree.splitlines():
        name = line.split()[0]
        if name.endswith("/"):
            folder = name
        else:
            named.append(folder + name)
    there = [str(path.relative_to(ROOT)) for path in modules() if path.name != "__init__.py"]
    assert sorted(named) == sorted(there)


def test_paths_in_the_map_exist() -> None:
    """Each path that a document names is there."""
    for document in ("docs/architecture.md", "CONTRIBUTING.md", "docs/adding-a-method.md", "docs/usage.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:harness|tests|conf|sweeps|slurm)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{document} names {name}"


def test_files_and_folders_stay_small() -> None:
    """No file over 400 lines, no folder of more than 15 files, few loose modules."""
    long = [str(path) for path in modules() if len(path.read_text(encoding="utf-8").splitlines()) > LINES]
    assert not long
    folders = {path.parent for path in modules()}
    assert not [str(each) for each in folders if len(list(each.glob("*.py"))) > FILES]
    loose = [path for path in (ROOT / "harness").glob("*.py") if not path.name.startswith("__")]
    assert len(loose) <= LOOSE


def test_no_module_outside_names_the_second_family() -> None:
    """A family is found by its folder: what it needs elsewhere would be a hole in the seam."""
    folder = ROOT / "harness" / "tasks" / "text_regression"
    naming = [
        str(path.relative_to(ROOT))
        for path in modules()
        if folder not in path.parents and "text_regression" in path.read_text(encoding="utf-8")
    ]
    assert not naming


def test_reports_of_families_load_no_torch() -> None:
    """A report imports them by name, which the contracts of layers cannot see."""
    code = (
        "import sys; from harness.api.family import all_metrics, families, part\n"
        "[part(family.report) for family in families().values()]; all_metrics()\n"
        "assert not {'torch', 'transformers', 'optuna', 'hydra'} & {*sys.modules}, sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
