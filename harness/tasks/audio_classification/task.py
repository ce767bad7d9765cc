"""Audio classification tasks on files or a hub data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.readers.file_formats import FORMATS, neighbours
from harness.data.text_values import check_text, plain
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.audio_classification.settings import SoundTask
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.file_rows import read_hub_files, read_splits, read_table
from harness.tasks.labeled_files import LabeledFiles, read_folder
from harness.tasks.text_source import TextSource, one_name

FOLDER = "folder"
ALL_FORMATS = (FOLDER, *(name for name in FORMATS if name not in ("lines", "arff")))


@dataclass(kw_only=True)
class AudioClassification(SoundTask, TextSource):
    """Labeled sounds: a folder with a folder a class, a table of paths, or a hub data set.

    Where they come from is said as for texts, see `TextSource`.
    """

    text: str | Sequence[str] = field(default="audio", init=False)  # `audio` in its place
    audio: str = "audio"  # the column of paths or bytes
    group: str | None = None  # a column: sounds of one value stay in one split, such as those of one speaker

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.audio = one_name(self.audio)
        self.text = self.audio
        self.normalize_source()

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)

    def _check_columns(self, problems: Problems) -> None:
        check_text(problems, "task.audio", self.audio, "the name of a column")
        check_text(problems, "task.label", self.label, "the name of a column")
        check_text(problems, "task.group", self.group, "the name of a column", optional=True)
        problems.check(
            self.label != self.audio, f"task.label and task.audio both name the column {plain(self.label)!r}."
        )

    def _check_format(self, problems: Problems) -> None:
        wanted = self.format
        if wanted is not None and wanted not in ALL_FORMATS:
            problems.add(f"Unknown task.format {wanted}. {nearest(str(wanted), ALL_FORMATS)}")
        if wanted == FOLDER or wanted not in ALL_FORMATS:
            self.format = None
        super()._check_format(problems)
        self.format = wanted

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """See `SoundTask`."""
        paths, source = self.files_of_splits()
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_source(self.name))
            hub_files = read_hub_files(self.hub, self.audio, self.label, self.name, SOUNDS, "Audio")
            return hub_files, self.hub_source()
        return read_splits(paths, self._of_file), source

    def names_of_labels(self) -> dict[str, str]:
        """Return the names that the task or its hub data set gives to raw labels."""
        paths, _ = self.files_of_splits()
        given = self.label_names if "train" in paths else (self.hub or {}).get("label_names")
        return dict(given or {})

    def _of_file(self, path: Path) -> dict[str, LabeledFiles]:
        if not path.exists():
            raise HarnessError(f"{path} does not exist (current directory: {Path.cwd()}). {neighbours(path)}")
        kind = self.format or (FOLDER if path.is_dir() else "table")
        if (kind == FOLDER) != path.is_dir():
            raise HarnessError(f"{path} is {'a folder' if path.is_dir() else 'no folder'}, and task.format={kind}.")
        if kind != FOLDER:
            return {"train": self._of_table(path)}
        if self.group is not None:
            raise HarnessError(
                f"task.group={self.group} is a column of a table, and task.format=folder has none: name a table of "
                "paths, or set task.group=null."
            )
        return read_folder(path, SOUNDS)

    def _of_table(self, path: Path) -> LabeledFiles:
        if path.suffix.lower() in SOUNDS.suffixes:
            raise HarnessError(
                f"{path} is one sound: task.path names a folder with a folder for each class, or a table of paths and "
                f"labels ({', '.join(ALL_FORMATS[1:])})."
            )
        keys = {self.label: "task.label", self.audio: "task.audio", self.group: "task.group"}
        return read_table(path, self.audio, self.label, self.group, self.file_format(), SOUNDS, keys)

    def _no_source(self, name: str) -> str:
        if not self.folder:
            return (
                f"Task {name} needs labeled sounds: task.path=FOLDER with a folder for each class, or a table of paths "
                f"and labels ({', '.join(ALL_FORMATS[1:])})."
            )
        return super()._no_source(name)
