"""Strings of spoken digits, joined from recordings of single ones: the Free Spoken Digit Dataset (Jackson et al. 2018).

A string is of one speaker, with silence between digits. Its recordings are of its split alone: index 0 to 4 are test
recordings, as in the data set's own split, 5 to 9 validation ones, the others training ones. A split's recordings are
used once each, in random order, and again in another order only where more strings are asked for than they make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.data.readers.file_formats import expanded
from harness.data.readers.rows import SPLITS, data_folder
from harness.data.sounds import ArraySound, FileSound, Samples, check_sounds, resampled
from harness.data.text_values import check_text
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.tasks.audio_classification.spoken_digits import recordings_in
from harness.tasks.labeled_files import LabeledFiles
from harness.tasks.speech_recognition.normalizers import DIGITS
from harness.tasks.speech_recognition.settings import SpeechSettings

INDICES = {"test": range(5), "validation": range(5, 10), "train": range(10, 10_000)}
LONGEST_CLIP = 10.0  # seconds
FILE = "{1}_{0}_{2}.wav"  # of a recording: speaker, digit, index


@dataclass(kw_only=True)
class DigitStrings(SpeechSettings):
    """Strings of digits. The same fields and recordings give the same strings on every machine."""

    path: str | None = None  # the folder with the recordings, or with a folder `recordings`
    folder: str | None = None  # of $HARNESS_DATA, used without a path
    digits: int = 6  # of a string
    gap: float = 0.2  # seconds of silence between two
    train_strings: int = 300
    validation_strings: int = 48
    test_strings: int = 48
    data_seed: int = 0  # of the strings

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        counts = {f"{split}_strings": 2 for split in SPLITS}
        return super().least_values() | counts | {"digits": 1, "data_seed": 0}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key in ("path", "folder"):
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)
        holds = isinstance(self.gap, int | float) and not isinstance(self.gap, bool) and 0 <= self.gap <= 5
        problems.check(holds, f"task.gap is a number of seconds from 0 to 5, not {self.gap!r}.")

    def tables(self) -> tuple[dict[str, LabeledFiles], str]:
        """Join the strings of the three splits."""
        where = expanded(self.path) if self.path else data_folder(self.folder)
        folder, known = recordings_in(where, self.name, self.folder)
        recordings = {
            (match["speaker"], int(match["digit"]), int(match["index"])): FileSound(path)
            for path, match in known.items()
        }
        bad = check_sounds(list(recordings.values())).bad
        clips_of = list(recordings)
        broken = [f"{FILE.format(*clips_of[row])} ({why})" for row, why in bad.items()]
        if broken and self.unreadable != "skip":
            raise HarnessError(
                f"{self.name}: {plural(len(broken), 'recording')} of {folder} cannot be read: {several(broken)}. Mend "
                "or remove them, or leave them out: task.unreadable=skip."
            )
        for row in bad:
            del recordings[clips_of[row]]
        tables = {}
        for split in SPLITS:
            clips = {clip: sound for clip, sound in recordings.items() if clip[2] in INDICES[split]}
            speakers: dict[str, list[tuple[str, int, int]]] = {}
            for clip in sorted(clips):
                speakers.setdefault(clip[0], []).append(clip)
            if not speakers or min(map(len, speakers.values())) < self.digits:
                raise HarnessError(
                    f"{folder} has too few recordings for {split} strings of task.digits={self.digits}: each speaker "
                    f"needs as many of index {INDICES[split].start} "
                    f"{'on' if split == 'train' else f'to {INDICES[split].stop - 1}'}, named like 7_jackson_32.wav."
                )
            tables[split] = self._strings(split, speakers, clips)
        if broken:
            tables["train"].notes.append(
                f"{plural(len(broken), 'recording')} cannot be read and were left out: {several(broken)}."
            )
        return tables, folder.name

    def _strings(
        self, split: str, speakers: dict[str, list[tuple[str, int, int]]], sounds: dict[tuple[str, int, int], FileSound]
    ) -> LabeledFiles:
        draw = np.random.default_rng([self.data_seed, SPLITS.index(split)])
        count, table = getattr(self, f"{split}_strings"), LabeledFiles([], [], [])
        streams = {speaker: _in_turn(clips, self.digits, draw) for speaker, clips in speakers.items()}
        order, turn = sorted(streams), 0
        while len(table.sources) < count:
            speaker = order[turn % len(order)]
            turn += 1
            string = next(streams[speaker])
            table.sources.append(self._joined([sounds[clip].decoded(LONGEST_CLIP) for clip in string]))
            table.names.append(f"{speaker} {''.join(str(digit) for _, digit, _ in string)} ({split} {turn})")
            table.labels.append(" ".join(DIGITS[digit] for _, digit, _ in string))
        # Speakers take turns, so the one with the fewest recordings begins again first.
        once = min(len(clips) // self.digits for clips in speakers.values()) * len(speakers)
        if count > once:
            table.notes.append(
                f"{count} {split} strings are more than the {once} in which each recording occurs once: some "
                "recordings are in several, and intervals count these strings as independent."
            )
        return table

    def _joined(self, clips: list[tuple[Samples, int]]) -> ArraySound:
        rate = clips[0][1]
        silence = np.zeros(round(self.gap * rate), np.float32)
        parts = [silence]
        for samples, own in clips:
            parts += [resampled(samples, own, rate), silence]
        return ArraySound(np.concatenate(parts[1:-1]), rate)


def _in_turn(
    clips: list[tuple[str, int, int]], size: int, draw: np.random.Generator
) -> Iterator[list[tuple[str, int, int]]]:
    """Yield strings of recordings in random order, each once before any is used again."""
    while True:
        order = draw.permutation(len(clips)).tolist()
        for start in range(0, len(order) - size + 1, size):
            yield [clips[place] for place in order[start : start + size]]
