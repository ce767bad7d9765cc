"""Sounds from every kind of source; what is wrong with a source is told before any compute, all at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness.config.instantiate import build
from harness.errors import HarnessError, Problems
from harness.tasks.audio_classification.data import SoundData
from harness.tasks.audio_classification.demo import CLASSES, DemoSounds
from harness.tasks.audio_classification.spoken_digits import SpokenDigits
from harness.tasks.audio_classification.task import AudioClassification
from tests.helpers.sound_folders import folders


def load(**settings: Any) -> SoundData:
    return AudioClassification(**{"name": "mine", "test_fraction": 0.25, "validation_fraction": 0.25} | settings).load()


def refusal(**settings: Any) -> str:
    with pytest.raises(HarnessError) as refused:
        load(**settings)
    return str(refused.value)


def rows(data: SoundData) -> int:
    assert data.validation is not None
    return len(data.train) + len(data.validation) + len(data.test)


def test_a_folder_a_class(tmp_path: Path) -> None:
    """Other files are told, equal files are one, and what is changed or cut is counted."""
    root = folders(tmp_path / "tones")
    (root / "high" / "notes.txt").write_text("recorded in the hall", encoding="utf-8")
    (root / "low" / "deeper").mkdir()
    (root / "low" / "deeper" / "copy.wav").write_bytes((root / "low" / "01.wav").read_bytes())
    soundfile.write(root / "high" / "long.flac", np.random.default_rng(0).normal(0, 0.1, (44_100 * 2, 2)), 44_100)
    soundfile.write(root / "low" / "mute.wav", np.zeros(800), 8_000)
    data = load(path=str(root), max_seconds=1.5)
    assert data.labels == ("high", "low") and rows(data) == 26 and data.family == "audio_classification"
    assert set(data.names.values()) >= {"high/00.wav", "low/11.wav", "high/long.flac"}
    told = " ".join(data.warnings)
    for part in (
        "1 files that are no sounds", "1 duplicate", "1 train sound was mixed from several channels to one",
        "1 train sound of more than 1.5 seconds: only these are used (task.max_seconds): high/long.flac",
        "1 train sound without a signal", "2 sampling rates, 8,000 Hz (26), 44,100 Hz (1)",
    ):  # fmt: skip
        assert part in told, (part, told)
    assert data.longest == 1.5 and data.facts["seconds_longest"] == 2 and data.facts["sampling_rate"] == 8_000
    assert load(path=str(root), max_seconds=1.5).fingerprint == data.fingerprint
    assert "words_mean" not in data.facts


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_of_paths_and_bytes(tmp_path: Path, kind: str) -> None:
    root = folders(tmp_path)
    files = sorted(root.rglob("*.wav"))
    frame = pd.DataFrame(
        {
            "file": [str(each.relative_to(root)) for each in files],
            "kind": [each.parent.name for each in files],
            "speaker": [f"s{int(each.stem) // 2}" for each in files],
        }
    )
    if kind == "csv":
        frame.to_csv(root / "t.csv", index=False)
    elif kind == "jsonl":
        frame.to_json(root / "t.jsonl", orient="records", lines=True)
    else:  # as `datasets` stores sounds
        frame["file"] = [{"bytes": each.read_bytes(), "path": each.name} for each in files]
        frame.to_parquet(root / "t.parquet")
    data = load(path=str(root / f"t.{kind}"), audio="file", label="kind", group="speaker")
    assert rows(data) == 24 and data.train.groups is not None
    assert not {*data.train.groups} & {*(data.test.groups if data.test.groups is not None else ())}


def test_what_cannot_be_read_is_named_or_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path / "tones")
    whole = (root / "high" / "03.wav").read_bytes()
    (root / "high" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (root / "low" / "empty.wav").write_bytes(b"")
    (root / "low" / "text.wav").write_text("hello", encoding="utf-8")
    said = refusal(path=str(root))
    assert "3 of 27 train sounds cannot be read" in said and "task.unreadable=skip" in said
    for part in ("high/cut.wav (truncated)", "low/empty.wav (empty file)", "low/text.wav (no sound file"):
        assert part in said
    data = load(path=str(root), unreadable="skip")
    assert rows(data) == 24 and any("They were left out" in each for each in data.warnings)


def test_paths_stay_inside(tmp_path: Path) -> None:
    root = folders(tmp_path / "tones")
    outside = tmp_path / "outside.wav"
    outside.write_bytes((root / "low" / "00.wav").read_bytes())
    (root / "t.csv").write_text("audio,label\n../outside.wav,a\nlow/00.wav,b\n", encoding="utf-8")
    assert "1 sounds lie outside its folder" in refusal(path=str(root / "t.csv"))
    (root / "low" / "link.wav").symlink_to(outside)
    assert "1 links in" in refusal(path=str(root))


def test_names_and_paths_from_elsewhere(tmp_path: Path) -> None:
    """Names that are no UTF-8, pipes, paths of Windows, addresses, NULs, rows without a group: one sentence each."""
    root = folders(tmp_path / "tones")
    os.mkfifo(root / "low" / "pipe.wav")
    assert "low/pipe.wav (a pipe or a device)" in refusal(path=str(root))
    (root / "low" / "pipe.wav").unlink()
    odd = os.fsencode(root / "low") + b"/\xe9.wav"
    shutil.copy(root / "low" / "00.wav", odd)
    assert "1 names in" in (said := refusal(path=str(root))) and "are not UTF-8: 'low/\\udce9.wav'" in said
    Path(os.fsdecode(odd)).unlink()
    paths = sorted(str(each.relative_to(root)) for each in root.rglob("*.wav"))
    table = root / "t.jsonl"

    def told(change: Callable[[str], str], **fields: Any) -> str:
        rows = [{"audio": change(each), "label": each.split("/")[0], "speaker": None} for each in paths]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return refusal(path=str(table), **fields)

    assert "written with / between folders" in told(lambda path: path.replace("/", "\\"))
    assert "download them first" in told(lambda path: f"https://example.org/{path}")
    assert "paths are relative to the folder" in (said := told(lambda path: f"{300 * 'x'}{path}")) and len(said) < 900
    assert "have no path or sound" in told(lambda path: f"{path}\0")
    assert "half a character" in told(lambda path: f"{path}\ud800")
    assert "rows have no group in column 'speaker'" in told(str, group="speaker")
    assert "Choose with task.group." in told(str, group="person")


def test_tokens_are_no_setting_of_sounds(tmp_path: Path) -> None:
    """A key that nobody reads is refused, with a + as well."""
    with pytest.raises(HarnessError, match="takes no max_length"):
        build({"kind": "audio_classification", "path": str(tmp_path), "max_length": 64})


def _loose(root: Path) -> dict[str, Any]:
    shutil.rmtree(root)
    root.mkdir()
    soundfile.write(root / "a.wav", np.ones(100), 8_000)
    return {"path": str(root)}


def _one_file(root: Path) -> dict[str, Any]:
    shutil.rmtree(root / "low")
    (root / "low").mkdir()
    soundfile.write(root / "low" / "a.wav", np.full(800, 0.1), 8_000)
    return {"path": str(root)}


def _column(root: Path) -> dict[str, Any]:
    (root / "t.csv").write_text("audio,kind\nlow/00.wav,b\n", encoding="utf-8")
    return {"path": str(root / "t.csv")}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda root: {"path": str(root / "gone")}, "does not exist"),
        (lambda root: {"path": str(root / "low" / "00.wav")}, "is one sound"),
        (_loose, "needs a folder for each class, with its sounds. It has 1 sounds but no folders"),
        (_one_file, "low"),
        (_column, "no column 'label'"),
        (lambda root: {"path": str(root), "group": "speaker"}, "task.format=folder has none"),
        (lambda root: {"path": str(root), "format": "wav"}, "Unknown task.format wav"),
        (lambda root: {"path": str(root), "format": "csv"}, "is a folder, and task.format=csv"),
        (lambda root: {"path": str(root), "audio": "label"}, "both name the column 'label'"),
        (lambda root: {"path": str(root), "unreadable": "maybe"}, "error or skip"),
        *(
            (lambda root, value=value: {"path": str(root), "max_seconds": value}, "task.max_seconds is a number")
            for value in (0, -1, float("nan"), float("inf"), True, "long", None, 1e9)
        ),
        (lambda root: {}, "needs labeled sounds: task.path=FOLDER"),
    ],
)
def test_each_problem_is_one_sentence(tmp_path: Path, broken: Callable[[Path], dict[str, Any]], said: str) -> None:
    assert said in refusal(**broken(folders(tmp_path / "tones")))


def test_a_model_that_reads_less_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper", "max_source_positions": 5}))
    data, problems = load(path=str(folders(tmp_path / "tones"))), Problems()
    data.check_model("short", tmp_path, problems)
    assert "model=short reads 0.1 seconds" in problems.messages[0] and "task.max_seconds=0.1" in problems.messages[0]


def test_generated_sounds_are_the_same_everywhere() -> None:
    data = DemoSounds(name="demo", train_per_class=3, validation_per_class=1, test_per_class=1).load()
    again = DemoSounds(name="demo", train_per_class=3, validation_per_class=1, test_per_class=1).load()
    assert data.labels == CLASSES and data.fingerprint == again.fingerprint and len(data.train) == 18
    assert data.fingerprint != DemoSounds(name="demo", train_per_class=3, data_seed=1).load().fingerprint
    for wrong in ({"noise": -1}, {"seconds": 0}, {"label_noise": 1}, {"train_per_class": 0}):
        with pytest.raises(HarnessError, match="task\\."):
            DemoSounds(name="demo", **wrong).load()  # type: ignore[arg-type]  # on purpose


def test_spoken_digits_by_their_names(tmp_path: Path) -> None:
    """The first five recordings are test rows, or those of one speaker."""
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    draw = np.random.default_rng(0)
    for speaker in ("ann", "bob"):
        for digit in range(2):
            for index in range(8):
                soundfile.write(recordings / f"{digit}_{speaker}_{index}.wav", draw.normal(0, 0.1, 400), 8_000)
    data = SpokenDigits(name="digits", path=str(tmp_path)).load()
    assert len(data.test) == 20 and data.labels == ("0", "1")
    assert all(int(data.names[each][-5]) < 5 for each in data.test.texts)
    speaker = SpokenDigits(name="digits", path=str(recordings), test_speaker="bob").load()
    assert {speaker.names[each].split("_")[1] for each in speaker.test.texts} == {"bob"}
    assert SpokenDigits(name="digits", path=str(tmp_path), label="speaker").load().labels == ("ann", "bob")
    for wrong, said in (
        ({"path": str(tmp_path / "gone")}, "is no folder"), ({"label": "word"}, "digit or speaker"),
        ({"path": str(folders(tmp_path / "other"))}, "no recordings named like"),
        ({"test_speaker": "eve"}, "test_speaker=eve has no recordings"),
        ({"test_speaker": "bob", "label": "speaker"}, "set one of them"),
    ):  # fmt: skip
        with pytest.raises(HarnessError, match=said):
            SpokenDigits(**{"name": "digits", "path": str(tmp_path)} | wrong).load()  # type: ignore[arg-type]
