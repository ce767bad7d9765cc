"""Reports that the page shows: written into a folder of its own, and anew when a study has new results."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.status.study_status import survey
from harness.ui.content import Studies, Unknown


@dataclass
class _Written:
    """A report: its folder, the files in it, and the state of the studies that it was written of."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    of: tuple[tuple[float | None, int], ...] = ()


class Reports:
    """Reports by the names of their studies.

    Args:
        studies: where they are.
        folder: where reports are written, which nobody else writes to.
    """

    def __init__(self, studies: Studies, folder: Path) -> None:
        self._studies, self._folder = studies, folder
        self._written: dict[str, _Written] = {}
        self._lock = threading.Lock()  # figures are drawn by one thread at a time

    def key(self, named: Sequence[str]) -> str:
        """Write the report of one study or several, unless it is up to date; return what names it.

        Raises:
            HarnessError: a study does not exist, or has no results yet.
        """
        from harness.report import write

        once = list(dict.fromkeys(named))
        if not once:
            raise Unknown("Name a study.")
        directories = [self._studies.directory(name) for name in once]
        key = hashlib.sha256("\0".join(once).encode()).hexdigest()[:24]
        with self._lock:
            seen = [survey(each) for each in directories]
            now = tuple((each.activity, sum(each.runs.values())) for each in seen)
            found = self._written.get(key)
            if found is None or found.of != now:
                found = _Written(self._folder / key, of=now)
                write(directories, found.folder)
                files = (each for each in found.folder.rglob("*") if each.is_file())
                found.files = {each.relative_to(found.folder).as_posix(): each for each in files}
                self._written[key] = found
        return key

    def file(self, key: str, name: str) -> Path:
        """Return a file of a report that was written.

        Raises:
            Unknown: there is none.
        """
        found = self._written.get(key)
        if found is None or name not in found.files:
            raise Unknown("There is no such file of a report.")
        return found.files[name]
