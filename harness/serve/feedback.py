"""Feedback of users: what was wrong and what is right, in JSONL files that only the owner of the service reads."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import now
from harness.serve.files.samples import FILES, suffix_of
from harness.serve.settings import Refusal


class FeedbackStore:
    """A folder with a file `<model>/<tenant>.jsonl` for each model and tenant, readable by its owner only.

    Images and sounds are in the folder `<model>/<tenant>/`, and lines have their paths.

    Args:
        directory: the folder; made if it is missing.

    Raises:
        HarnessError: the folder cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        make_folder(directory, "--feedback")

    def add(self, model: str, tenant: str, row: Mapping[str, Any]) -> str:
        """Append a row; return its id.

        Raises:
            Refusal: it cannot be stored.
        """
        entry = {"id": uuid.uuid4().hex, "time": now(), **row}
        path = self.directory / model / f"{tenant}.jsonl"
        kept = list[Path]()
        try:
            with self._lock:
                path.parent.mkdir(exist_ok=True, mode=0o700)
                for kind in FILES:
                    if kind in entry:
                        file = path.with_suffix("") / (entry["id"] + suffix_of(entry[kind], kind))
                        _store(file, entry[kind])
                        kept.append(file)
                        entry[kind] = f"{file.parent.name}/{file.name}"
                line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    write_whole(descriptor, line)
                finally:
                    os.close(descriptor)
        except OSError:
            for file in kept:
                with suppress(OSError):
                    file.unlink()
            raise Refusal(507, "The feedback cannot be stored now; nothing of it was kept.") from None
        return str(entry["id"])


def _store(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    file.parent.mkdir(exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_whole(descriptor, content)
    except OSError:
        file.unlink()
        raise
    finally:
        os.close(descriptor)


def check_folder(directory: Path | None, option: str) -> None:
    """Check that a folder can be written, or made where it is missing; nothing is made.

    Args:
        directory: the folder; None: there is to be none.
        option: of the command line, which named it.

    Raises:
        HarnessError: it cannot.
    """
    if directory is None:
        return
    try:
        there = next(each for each in (directory, *directory.absolute().parents) if each.exists())
        reason = None if there.is_dir() else f"{there} is a file"
        if reason is None and not os.access(there, os.W_OK | os.X_OK):
            reason = "no permission to write"
    except OSError as error:
        reason = error.strerror
    _refuse(directory, option, reason)


def make_folder(directory: Path, option: str) -> None:
    """Make a folder that only its owner reads, unless it exists.

    Args:
        directory: the folder.
        option: of the command line, which named it.

    Raises:
        HarnessError: it cannot be made, or not be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        reason = None if os.access(directory, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        reason = error.strerror
    _refuse(directory, option, reason)


def _refuse(directory: Path, option: str, reason: str | None) -> None:
    if reason is not None:
        raise HarnessError(
            f"{option} {directory} cannot be used ({reason}): name a folder that can be written, or leave it out."
        )


def write_whole(descriptor: int, line: bytes) -> None:
    """Append a line or nothing: a line that the disk has no room for is taken back."""
    before = os.fstat(descriptor).st_size
    written = 0
    try:
        written = os.write(descriptor, line)
    finally:
        if written < len(line):
            os.ftruncate(descriptor, before)
    if written < len(line):
        raise OSError("short write")
