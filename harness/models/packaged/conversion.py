"""The model in a package's file as a directory that transformers loads: converted once a machine, then shared.

Imports no torch: the coordinator has none, so a separate process converts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import harness
from harness.errors import HarnessError
from harness.models.files.model_files import WHOLE


def converted_once(
    module: str,
    name: str,
    file: Path,
    cache_dir: str | Path,
    model: str,
    seconds: float,
    *,
    note: str = "",
    needs: str = "",
) -> Path:
    """Return the directory with a file's model; convert the file if needed.

    Several processes may ask at once: one of them converts, the others wait.

    Args:
        module: `python -m <module> <file> <directory>` converts a file into a directory that exists.
        name: of the directory: what identifies the file and the form of the conversion.
        file: the file, its digest checked by the caller.
        cache_dir: where the directory is kept, under `converted`.
        model: the model's name in messages.
        seconds: longest time of a conversion.
        note: what is printed before a conversion.
        needs: what a conversion needs, for the message when it fails.

    Raises:
        HarnessError: the cache cannot be written, or the file cannot be converted.
    """
    from filelock import FileLock

    folder = Path(cache_dir).expanduser() / "converted"
    target = folder / name
    if (target / WHOLE).is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if not (target / WHOLE).is_file():
                sys.stderr.write(note)
                _convert_apart(module, file, target, model, seconds, needs)
    except OSError as error:
        raise HarnessError(
            f"model={model}: {file.name} cannot be converted, because {folder} cannot be written "
            f"({error.strerror or error}). Free space there, or set cache_dir to a directory that can be written."
        ) from None
    return target


def _convert_apart(module: str, file: Path, target: Path, model: str, seconds: float, needs: str) -> None:
    """Convert in a separate process, into a directory that is then renamed. The caller holds the lock.

    Raises:
        HarnessError: the file cannot be converted.
        OSError: the directory cannot be written.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    package = str(Path(harness.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    # Python's option -P excludes the current directory, whose files may have the names of modules.
    command = [sys.executable, "-P", "-m", module, str(file), str(temporary)]
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=seconds, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise HarnessError(f"model={model}: {file} cannot be converted: {reason.rstrip('.')}. {needs}".rstrip())
        temporary.rename(target)
    except subprocess.TimeoutExpired:
        raise HarnessError(
            f"model={model}: converting {file} took more than {seconds:.0f} s. Try again on a machine with less load."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
