"""Resolution of studies and saved models given on the command line: by name in the studies directory, or by path."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from harness.errors import HarnessError, nearest
from harness.records.study_files import DESCRIPTION, MARKS, MODEL, RUNS

ARCHIVE = ".zip"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as PEFT names them
LISTED = 8  # maximum number of names in an error


def names(runs_dir: Path) -> list[str]:
    """Return the names of the studies in a directory of studies."""
    try:
        with os.scandir(runs_dir) as entries:
            found = [entry.name for entry in entries if entry.is_dir() and is_study(Path(entry.path))]
    except OSError:
        return []
    return sorted(found)


def is_study(directory: Path) -> bool:
    """Return whether a directory holds a study, started or submitted."""
    if any((directory / mark).exists() for mark in MARKS):
        return True
    # A project's `runs` directory holds studies. A study of single runs has only `runs/<cell>/<run>`.
    runs = directory / RUNS
    return runs.is_dir() and not any(_is_marked(path) for path in _directories(runs))


def find(study: str | Path, runs_dir: Path, archives: bool = False) -> Path:
    """Return the directory of a study, or its archive.

    Args:
        study: its name in `runs_dir`, or a path. A name wins over an equal path; `./name` is always a path.
        runs_dir: the directory of studies.
        archives: whether an archive file is accepted.

    Raises:
        HarnessError: there is no such study; the message lists what exists and the nearest names.
    """
    text = str(study)
    places = list(_places(text, runs_dir))
    for place in places:
        if is_study(place):
            return place
    files = [place for place in places if place.is_file()]
    for file in files:
        if file.suffix == ARCHIVE and archives:
            return file
        if file.suffix == ARCHIVE:
            reader = f"python -m harness.report {shlex.quote(str(file))}"
            raise HarnessError(f"{file} is the archive of a study, which only `{reader}` reads.")
    for place in places:
        above = place.absolute().parents if place.exists() else ()
        if inside := next((each for each in above if any((each / mark).exists() for mark in MARKS)), None):
            raise HarnessError(f"{place} lies inside of a study. Give that: {shlex.quote(_shown(inside))}")
    what = f" ({files[0]} is a file)" if files else ""
    raise HarnessError(
        f"There is no study {text!r}{what}. {_known(text, runs_dir)} Give a name, a path, or another --runs-dir."
    )


def find_model(model: str | Path, runs_dir: Path) -> Path:
    """Return the directory of a saved model, or the given path if nothing is found.

    Args:
        model: path of a model's or a run's directory, or `<study>/<cell>/<run>`.
        runs_dir: the directory of studies.

    Raises:
        HarnessError: `model` names a study, which may hold many models, or a run of one that has no such model.
    """
    text = str(model)
    for place in _places(text, runs_dir):
        study, _, run = text.partition("/")
        for directory in (place, place / MODEL, runs_dir / study / RUNS / run / MODEL):
            if (directory / DESCRIPTION).is_file():
                return directory
    for place in _places(text, runs_dir):
        if is_study(place):
            found = sorted(path.parent for path in (place / RUNS).glob(f"*/*/{MODEL}/{DESCRIPTION}"))
            more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
            listed = ", ".join(map(str, found[:LISTED])) + more
            listing = f"Its saved models: {listed}." if found else "It has no saved model."
            raise HarnessError(f"{text} is a study, so say which of its models. {listing}")
    study, _, run = text.partition("/")
    if run and not Path(text).exists() and is_study(runs_dir / study):
        runs = runs_dir / study / RUNS
        saved = sorted(str(path.parents[1].relative_to(runs)) for path in runs.glob(f"*/*/{MODEL}/{DESCRIPTION}"))
        known = [f"{study}/{each}" for each in saved]
        raise HarnessError(f"There is no saved model {text}. {nearest(text, known)}")
    return Path(text)


def lacking(directory: Path, weights: Collection[str]) -> list[str]:
    """Return the files that a saved model needs and does not have.

    Args:
        directory: the saved model.
        weights: its files of weights, as its description lists them. PEFT's need a configuration beside them, without
            which the model would be loaded as if nothing had been adapted.
    """
    adapters = [Path(name).with_name(ADAPTER_CONFIG) for name in weights if Path(name).name == ADAPTER_WEIGHTS]
    return [name for name in (*weights, *map(str, adapters)) if not (directory / name).is_file()]


def _places(text: str, runs_dir: Path) -> Iterator[Path]:
    """Yield the paths that a name or path may mean, in order of precedence."""
    if not text:
        return
    path = Path(text)
    plain = not (path.is_absolute() or text.startswith("."))
    yield from (runs_dir / path, path) if plain else (path,)


def _is_marked(directory: Path) -> bool:
    return any((directory / mark).exists() for mark in MARKS) or (directory / RUNS).is_dir()


def _directories(directory: Path) -> Iterator[Path]:
    try:
        yield from (path for path in directory.iterdir() if path.is_dir())
    except OSError:
        return


def _known(text: str, runs_dir: Path) -> str:
    """Describe the studies that may have been meant: those beside the given path, else those of `runs_dir`."""
    parent = Path(text).parent
    where = next((place for place in (runs_dir / parent, parent) if parent != Path() and names(place)), runs_dir)
    known = names(where)
    if not known:
        return f"{where} holds no study."
    hint = nearest(Path(text).name, known)
    if len(known) > LISTED:
        hint = f"{hint.partition('Known:')[0]}Known: {', '.join(known[:LISTED])} and {len(known) - LISTED} more."
    return f"Studies in {where}: {hint}"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
