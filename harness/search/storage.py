"""The Optuna storage of a study: a single writer, a lock that names its holder, repair of a truncated journal."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from harness.errors import HarnessError
from harness.records.files import now, write_json


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a study. It is a lock of the operating system, so it is released when its holder dies.

    Raises:
        HarnessError: another coordinator holds the study; names it.
    """
    holder = directory / "holder.json"
    held = FileLock(directory / "study.lock")
    try:
        held.acquire(timeout=0.3)  # `harness.status` holds the lock for a moment to test whether it is free
    except Timeout:
        try:
            who = json.loads(holder.read_text(encoding="utf-8"))
            name = f"process {who['pid']} on {who['host']} since {who['since']}"
        except (OSError, ValueError, KeyError):
            name = "another process"
        raise HarnessError(
            f"The study {directory.name} is being coordinated by {name}. Wait for it, stop it, or name another study: "
            f"study=<name>."
        ) from None
    try:
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()


def open_storage(url: str | None, directory: Path, warn: Callable[[str], None]) -> BaseStorage:
    """Open the storage; call this only while holding the lock.

    Args:
        url: any Optuna storage URL; None for the study's own journal.
        directory: of the study.
        warn: called with a message if the journal was repaired.

    Raises:
        HarnessError: the storage cannot be opened.
    """
    if url is not None:
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:
            hidden = url.split("://")[0]  # the rest may hold a password
            raise HarnessError(
                f"tune.storage={hidden}://... cannot be opened: {type(error).__name__}. Check the URL, that the server "
                f"answers and that its driver is installed, or leave tune.storage out for a journal file."
            ) from error
    journal = directory / "study.journal"
    mend(journal, warn)
    return JournalStorage(_SingleWriterJournal(str(journal)))


class _SingleWriterJournal(JournalFileBackend):  # type: ignore[misc] # Optuna publishes no types here
    """Optuna's journal file with the cheaper of its locks, as the study's own lock already excludes other writers."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_obj=JournalFileOpenLock(path))


def mend(journal: Path, warn: Callable[[str], None]) -> None:
    """Truncate a journal to its last complete line.

    A last line that is incomplete, after a crash or on a full disk, would corrupt the next entry. A copy of the
    original file is kept beside it.
    """
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return
    end = content.rfind(b"\n") + 1
    whole = end == len(content)
    while whole and end:  # a complete last line that is not valid JSON is cut, too
        start = content.rfind(b"\n", 0, end - 1) + 1
        try:
            json.loads(content[start:end])
            break
        except ValueError:
            end, whole = start, True
    if end == len(content):
        return
    backup = journal.with_name(f"{journal.name}.torn-{now().replace(':', '')}")
    shutil.copyfile(journal, backup)
    with journal.open("r+b") as file:
        file.truncate(end)
    warn(
        f"The last line of {journal} was torn; the journal was cut to its last complete line. The file as it was is "
        f"{backup.name}."
    )
