"""Speech recognition tasks on files or a hub data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.data.readers.file_formats import FORMATS, neighbours
from harness.data.text_values import check_text, plain
from harness.errors import HarnessError, Problems
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.file_rows import read_hub_files, read_splits, read_table
from harness.tasks.labeled_files import LabeledFiles
from harness.tasks.speech_recognition.folders import TRANSCRIPT, read_speech
from harness.tasks.speech_recognition.settings import SpeechSettings
from harness.tasks.text_source import TextSource, one_name

TABLES = tuple(name for name in FORMATS if name not in ("lines", "arff"))


@dataclass(kw_only=True)
class SpeechRecognition(SpeechSettings, TextSource):
    """Sounds with transcripts: a folder with a text beside each sound, a table of paths and texts, or a hub data set.

    Where they come from is said as for texts, see `TextSource`.
    """

    label: str = field(default="text", init=False)  # `text` in its place
    text: str = "text"  # the column of transcripts
    audio: str = "audio"  # the column of paths or bytes
    group: str | None = None  # a column: sounds of one value stay in one split, such as those of one speaker

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.audio, self.text = one_name(self.audio), one_name(self.text)
        self.label = self.text
        self.normalize_source()

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)

    def _check_columns(self, problems: Problems) -> None:
        check_text(problems, "task.audio", self.audio, "the name of a column")
        check_text(problems, "task.text", self.text, "the name of a column")
        check_text(problems, "task.group", self.group, "the name of a column", optional=True)
        problems.check(self.text != self.audio, f"task.text and task.audio both name the column {plain(self.text)!r}.")

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """See `SpeechSettings`."""
        paths, source = self.files_of_splits()
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_source(self.name))
            hub_files = read_hub_files(self.hub, self.audio, self.text, self.name, SOUNDS, "Audio")
            return hub_files, self.hub_source()
        return read_splits(paths, self._of_file), source

    def _of_file(self, path: Path) -> dict[str, LabeledFiles]:
        if not path.exists():
            raise HarnessError(f"{path} does not exist (current directory: {Path.cwd()}). {neighbours(path)}")
        if path.is_dir():
            if self.group is not None:
                raise HarnessError(
                    f"task.group={self.group} is a column of a table, and {path} is a folder: name a table of paths "
                    "and transcripts, or set task.group=null."
                )
            return read_speech(path, self.encoding)
        if path.suffix.lower() in SOUNDS.suffixes:
            raise HarnessError(
                f"{path} is one sound: task.path names a folder with a text beside each sound (a.wav, a{TRANSCRIPT}), "
                f"or a table of paths and transcripts ({', '.join(TABLES)})."
            )
        keys = {self.text: "task.text", self.audio: "task.audio", self.group: "task.group"}
        return {"train": read_table(path, self.audio, self.text, self.group, self.file_format(), SOUNDS, keys)}

    def _no_source(self, name: str) -> str:
        if not self.folder:
            return (
                f"Task {name} needs sounds with transcripts: task.path=FOLDER with a text beside each sound (a.wav, "
                f"a{TRANSCRIPT}), or a table of paths and transcripts ({', '.join(TABLES)}; task.audio, task.text)."
            )
        return super()._no_source(name)
