"""The Free Spoken Digit Dataset: recordings named {digit}_{speaker}_{index}.wav, at 8 kHz (Jackson et al. 2018).

Its own split: those of index 0 to 4 are test rows. The same six speakers are in both splits; `test_speaker` holds one
out instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.data.readers.file_formats import expanded
from harness.data.readers.rows import data_folder
from harness.data.sounds import FileSound
from harness.data.text_values import as_text, check_text
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.audio_classification.settings import SoundTask
from harness.tasks.labeled_files import LabeledFiles

NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
TEST_INDICES = 5  # recordings of a digit and speaker that are test rows: the first ones
PARTS = ("digit", "speaker")
RECORDINGS = "recordings"


@dataclass(kw_only=True)
class SpokenDigits(SoundTask):
    """Recordings of spoken digits, whose names say digit, speaker and index."""

    path: str | None = None  # the folder with the recordings, or with a folder `recordings`
    folder: str | None = None  # of $HARNESS_DATA, used without a path
    label: str = "digit"  # digit | speaker: what is to be predicted
    test_speaker: str | None = None  # the speaker whose recordings are the test rows; null: the data set's own split

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.test_speaker = as_text(self.test_speaker)

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key in ("path", "folder"):
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)
        problems.check(
            self.label in PARTS, f"task.label must be {' or '.join(PARTS)}, as the names say, not {self.label!r}."
        )
        if check_text(problems, "task.test_speaker", self.test_speaker, "the name of a speaker", optional=True):
            problems.check(
                self.test_speaker is None or self.label != "speaker",
                "task.test_speaker holds out a speaker, whom task.label=speaker would have to know: set one of them.",
            )

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Return the training and test recordings."""
        where = expanded(self.path) if self.path else data_folder(self.folder)
        folder, known = recordings_in(where, self.name, self.folder)
        speakers = sorted({match["speaker"] for match in known.values()})
        if self.test_speaker is not None and self.test_speaker not in speakers:
            raise HarnessError(
                f"task.test_speaker={self.test_speaker} has no recordings. {nearest(self.test_speaker, speakers)}"
            )
        tables = {split: LabeledFiles([], [], []) for split in ("train", "test")}
        for path, match in known.items():
            table = tables["test" if self._is_test(match) else "train"]
            table.sources.append(FileSound(path))
            table.names.append(path.name)
            table.labels.append(match[self.label])
        return tables, self._named(folder)

    def _is_test(self, match: re.Match[str]) -> bool:
        if self.test_speaker is None:
            return int(match["index"]) < TEST_INDICES
        return match["speaker"] == self.test_speaker

    def _named(self, folder: Path) -> str:
        held_out = f", {self.test_speaker} held out" if self.test_speaker else ""
        return f"{folder.name}{held_out}"


def recordings_in(folder: Path | None, task: str, known_as: str | None) -> tuple[Path, dict[Path, re.Match[str]]]:
    """Find the recordings of a folder, or of its folder `recordings`, with the parts of their names.

    Args:
        folder: None if there is none.
        task: name of the task, for messages.
        known_as: the folder's name in $HARNESS_DATA.

    Raises:
        HarnessError: there is no such folder, or it has no recordings.
    """
    if folder is None or not folder.is_dir():
        where = f"{folder} is no folder" if folder else "The data of this task are not here"
        raise HarnessError(
            f"Task {task}: {where}. Set HARNESS_DATA to a folder that holds {known_as or 'fsdd'}, or name "
            "the folder of the recordings: task.path=FOLDER."
        )
    inside = folder / RECORDINGS if (folder / RECORDINGS).is_dir() else folder
    known = {path: match for path in sorted(inside.iterdir()) if (match := NAME.fullmatch(path.name))}
    if not known:
        raise HarnessError(
            f"{inside} has no recordings named like 7_jackson_32.wav (digit, speaker, index). Sounds of other "
            "names, in a folder for each class: task=audio."
        )
    return folder, known
