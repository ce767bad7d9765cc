"""Load the models that a command line names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, Problems
from harness.serve.loaded import Loaded, share_weights

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # part of a path and of a file's name


@dataclass(frozen=True)
class Source:
    """A model to serve.

    Attributes:
        name: in paths, metrics and feedback.
        given: study, run, saved model or export, as the user named it.
        directory: the folder of the saved model or export.
    """

    name: str
    given: str
    directory: Path


def sources(named: Sequence[str], runs_dir: Path, cell: str | None) -> list[Source]:
    """Find the models that are named, each `path` or `name=path`.

    Raises:
        HarnessError: some are not found, or names repeat; all problems at once.
    """
    from harness.export.winner import cells_of, winner
    from harness.serving.saved_model import read_description

    problems, found = Problems(), list[Source]()
    cells = cells_of([_parted(each)[1] for each in named], runs_dir, cell)
    for each, of in zip(named, cells, strict=True):
        name, path = _parted(each)
        problems.check(
            bool(_NAME.fullmatch(name)),
            f"{name!r} cannot be a model's name, which has letters, digits, _, . and -: write NAME={path}.",
        )
        if any(name == other.name for other in found):
            problems.add(f"Two models are named {name}: write NAME=PATH for one of them.")
        try:
            model = winner(path, runs_dir, of).model
            read_description(model)
            found.append(Source(name, path, model))
        except HarnessError as error:
            problems.extend(error)
    problems.raise_any()
    return found


def load_all(found: Sequence[Source], device: str, cache_dir: str | Path, engine: str) -> dict[str, Loaded]:
    """Load models; those of a common backbone share its weights.

    Raises:
        HarnessError: some cannot be loaded; all problems at once.
    """
    problems, loaded = Problems(), dict[str, Loaded]()
    for source in found:
        try:
            loaded[source.name] = load_one(source.directory, device, cache_dir, engine)
        except HarnessError as error:
            problems.extend(error)
    problems.raise_any()
    share_weights([each.predictor.network for each in loaded.values() if hasattr(each.predictor, "network")])
    return loaded


def load_one(directory: Path, device: str, cache_dir: str | Path, engine: str) -> Loaded:
    """Load a model and predict once, so that the first request finds it warm.

    Raises:
        HarnessError: it cannot be loaded, or not by this engine.
    """
    from harness.serve.engines import chosen, to_stdout
    from harness.serving.predict import load
    from harness.serving.saved_model import read_description

    facts = read_description(directory)
    digest = files_digest(directory)
    file = Path(cache_dir).expanduser() / "onnx" / f"{digest[:32]}.onnx"
    predictor, name = chosen(load(directory, device, cache_dir), facts, engine, file, to_stdout)
    one = Loaded(predictor, name, facts | {"files_digest": digest})
    one.try_out()
    return one


def files_digest(directory: Path) -> str:
    """Return a digest of a model folder's weights and description, hexadecimal."""
    import hashlib

    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in (".safetensors", ".json", ".onnx"):
            found.update(str(path.relative_to(directory)).encode())
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _parted(named: str) -> tuple[str, str]:
    """Split `name=path`; a path alone is named after its last telling folder."""
    name, equal, path = named.partition("=")
    if equal and "/" not in name:
        return name, path
    parts = [part for part in Path(named).parts if part not in ("model", "..", ".", "/")]
    return re.sub(r"[^A-Za-z0-9_.-]", "-", parts[-1]) if parts else "model", named
