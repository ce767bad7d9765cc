"""Snapshots of the code: a study runs a copy, so that later edits of the program do not change it.

The copy stands first on the import path of the runs (`PYTHONPATH=<snapshot> python -P -m harness`). Its origin
(commit, diff, versions) is stored beside it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
from harness.config.instantiate import TRUSTED
from harness.records.files import atomic, now, write_json
from harness.system.machine import SNAPSHOT, snapshot_facts, versions

CODE = "code"  # subdirectory of a study that contains its snapshots
PATCH = "diff.patch"
CONFIGS = ("conf", "sweeps", "slurm")

_SUFFIXES = (".py", ".yaml", ".yml", ".json", ".toml", ".html", ".css", ".js", ".txt", ".j2", ".jinja", ".sh", ".typed")
_LARGEST = 5 * 2**20  # bytes; larger files are data
_LARGEST_BARE = 2**16  # bytes; larger files without a suffix are binaries, not scripts or licenses
_RESULTS = ("runs", "reports", "outputs", "multirun", "wandb")  # skipped unless they are Python packages


def take_configs(study_dir: Path, directory: Path) -> Path:
    """Copy a directory of the user's configs to `<study_dir>/code/configs-<digest>/`; return the copy."""
    files = {path.relative_to(directory): path.read_bytes() for path in sorted(directory.rglob("*.yaml"))}
    known = hashlib.sha256(repr(files).encode()).hexdigest()[:12]
    target = study_dir / CODE / f"configs-{known}"
    for name, content in files.items():
        with atomic(target / name) as temporary:
            temporary.write_bytes(content)
    return target


def take(study_dir: Path, packages: Sequence[str]) -> Path:
    """Copy the code to `<study_dir>/code/<digest of the content>/`, atomically; reuse an existing copy.

    Args:
        study_dir: the study's directory.
        packages: the user's own packages (`packages=[...]`). Those in site-packages are not copied. Missing ones are
            ignored here and reported where they are used.

    Returns:
        The directory to put first on the import path.
    """
    package = Path(harness.__file__).resolve().parent
    root = package.parent
    sources = _sources(package, packages)
    files = dict(sorted(_files(sources, study_dir.resolve())))
    content = {name: path.read_bytes() for name, path in files.items()}
    code = _digest(content)
    snapshot = study_dir / CODE / code
    if snapshot.is_dir():
        return snapshot
    facts, patch = _origin(root, [path for path in sources.values() if path.is_relative_to(root)])
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{code}.", dir=snapshot.parent))
    try:
        for name, data in content.items():
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        if patch:
            (temporary / PATCH).write_bytes(patch)
        write_json(temporary / SNAPSHOT, {"code": code, **facts, "versions": _versions(), "taken": now()})
        temporary.chmod(0o755)  # mkdtemp denies access to other members of the group
        try:
            temporary.rename(snapshot)
        except OSError:
            if not snapshot.is_dir():  # otherwise another process has written the same content first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return snapshot


def _sources(package: Path, packages: Sequence[str]) -> dict[str, Path]:
    """Return what is copied: path in the snapshot -> source path."""
    root = package.parent
    sources = {"harness": package, "hydra_plugins/harness_sweeper": root / "hydra_plugins" / "harness_sweeper"}
    if not (package / "conf").is_dir():  # an installed package contains its configs
        sources |= {name: root / name for name in CONFIGS}
    for name in dict.fromkeys(entry.split(".")[0] for entry in packages):
        if name not in TRUSTED:
            sources |= {f"{name}{path.suffix}" if path.is_file() else name: path for path in _locate(name)}
    return {name: path for name, path in sources.items() if path.exists()}


def _locate(name: str) -> list[Path]:
    """Return the paths of a package or module without importing it; [] if it is installed or not found."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        found = [Path(location).resolve() for location in spec.submodule_search_locations]
    else:
        found = [Path(spec.origin).resolve()] if spec.has_location and spec.origin else []
    paths = sysconfig.get_paths()
    installed = [Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [
        path
        for path in found
        if not any(path.is_relative_to(place) for place in installed)
        and not {"site-packages", "dist-packages"} & set(path.parts)
    ]


def _files(sources: dict[str, Path], study_dir: Path) -> Iterator[tuple[str, Path]]:
    for name, source in sources.items():
        if source.is_file():
            yield name, source
            continue
        for folder, folders, files in os.walk(source):
            here = Path(folder)
            folders[:] = [each for each in folders if _is_code(here / each) and here / each != study_dir]
            for file in files:
                path = here / file
                if _is_text(path):
                    yield (Path(name) / path.relative_to(source)).as_posix(), path


def _is_code(folder: Path) -> bool:
    name = folder.name
    if name.startswith(".") or name in ("__pycache__", "node_modules") or name.endswith(".egg-info"):
        return False
    if (folder / "pyvenv.cfg").exists():
        return False
    return name not in _RESULTS or (folder / "__init__.py").exists()


def _is_text(path: Path) -> bool:
    if path.name.startswith(".") or (path.suffix and path.suffix not in _SUFFIXES):
        return False
    try:
        return path.is_file() and path.stat().st_size <= (_LARGEST if path.suffix else _LARGEST_BARE)
    except OSError:
        return False


def _digest(content: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, data in content.items():
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:12]


def _origin(root: Path, paths: Sequence[Path]) -> tuple[dict[str, Any], bytes]:
    """Return the commit of the code and the diff to it; for a snapshot, those of its source."""
    if before := snapshot_facts():
        kept = root / PATCH
        facts = {key: before.get(key) for key in ("commit", "dirty", "diff_sha256")}
        return facts, kept.read_bytes() if kept.is_file() else b""
    unknown: dict[str, Any] = {"commit": None, "dirty": None, "diff_sha256": None}
    if not (root / ".git").exists():
        return unknown, b""
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        # These options keep the user's git settings from changing the patch, or whether it can be applied.
        patch = _git(
            root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--", *map(str, paths)
        )
    except (OSError, subprocess.SubprocessError):
        return unknown, b""
    return {
        "commit": commit,
        "dirty": bool(patch),
        "diff_sha256": hashlib.sha256(patch).hexdigest() if patch else None,
    }, patch


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=True).stdout


def _versions() -> dict[str, Any]:
    return {key: value for key, value in versions().items() if key not in ("commit", "diff_sha256", "code")}
