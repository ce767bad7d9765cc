"""Speech from every kind of source; what is wrong with a source is told before any compute, all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness.errors import HarnessError, Problems
from harness.tasks.speech_recognition.data import SpeechData
from harness.tasks.speech_recognition.demo import DemoSpeech
from harness.tasks.speech_recognition.digit_strings import DigitStrings
from harness.tasks.speech_recognition.task import SpeechRecognition
from tests.helpers.tiny_speech import spoken, write_speech


def load(**settings: Any) -> SpeechData:
    return SpeechRecognition(**{"name": "mine", "test_fraction": 0.25, "validation_fraction": 0.25} | settings).load()


def refusal(**settings: Any) -> str:
    with pytest.raises(HarnessError) as refused:
        load(**settings)
    return str(refused.value)


def rows(data: SpeechData) -> int:
    assert data.validation is not None
    return len(data.train) + len(data.validation) + len(data.test)


def test_a_folder_with_texts_beside_sounds(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    (root / "notes.md").write_text("in the hall", encoding="utf-8")
    data = load(path=str(root))
    assert rows(data) == 12 and data.family == "speech_recognition" and data.longest == pytest.approx(1.1)
    assert "1 file without a part in this" in " ".join(data.warnings)
    assert load(path=str(root)).fingerprint == data.fingerprint
    for split in ("train", "test"):
        (tmp_path / "both" / split).mkdir(parents=True)
        for path in root.iterdir():
            if path.suffix != ".md" and (int(path.stem) < 4) == (split == "test"):
                (tmp_path / "both" / split / path.name).write_bytes(path.read_bytes())
    assert len(load(path=str(tmp_path / "both")).test) == 4


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_of_paths_and_bytes(tmp_path: Path, kind: str) -> None:
    root = spoken(tmp_path)
    files = sorted(root.rglob("*.wav"))
    frame = pd.DataFrame({"file": [each.name for each in files], "said": [f"Hello, {each.stem}." for each in files]})
    frame["speaker"] = [f"s{int(each.stem) // 2}" for each in files]
    if kind == "csv":
        frame.to_csv(root / "t.csv", index=False)
    elif kind == "jsonl":
        frame.to_json(root / "t.jsonl", orient="records", lines=True)
    else:  # as `datasets` stores sounds
        frame["file"] = [{"bytes": each.read_bytes(), "path": each.name} for each in files]
        frame.to_parquet(root / "t.parquet")
    data = load(path=str(root / f"t.{kind}"), audio="file", text="said", group="speaker")
    assert rows(data) == 12 and data.train.groups is not None
    assert not set(data.train.groups) & set(data.test.groups if data.test.groups is not None else ())
    assert data.test.targets[0][0].startswith("Hello, ")


def test_what_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    (root / "03.wav").write_bytes((root / "03.wav").read_bytes()[:2000])
    (root / "04.txt").write_text("...", encoding="utf-8")
    (root / "05.txt").write_text("", encoding="utf-8")
    said = refusal(path=str(root))
    assert "1 of 12 train sounds cannot be read: 03.wav (truncated)" in said and "task.unreadable=skip" in said
    (root / "05.txt").write_text("five", encoding="utf-8")
    assert "1 train transcript without a word once normalized (task.normalize=basic): 04.wav" in refusal(path=str(root))
    (root / "04.txt").write_text("four", encoding="utf-8")
    data = load(path=str(root), unreadable="skip")
    assert rows(data) == 11 and "03.wav (truncated). They were left out." in " ".join(data.warnings)
    (root / "06.txt").unlink()
    assert "1 sound without a transcript beside it (.txt): 06.wav" in refusal(path=str(root), unreadable="skip")
    (root / "06.txt").write_text("six", encoding="utf-8")
    soundfile.write(root / "long.wav", np.full(16_000 * 3, 0.1), 16_000)
    (root / "long.txt").write_text("one", encoding="utf-8")
    said = refusal(path=str(root), unreadable="skip", window=2)
    assert "1 train sound longer than task.window=2 seconds: long.wav (3.0)" in said
    (root / "again.wav").write_bytes((root / "01.wav").read_bytes())
    (root / "again.txt").write_text("another", encoding="utf-8")
    assert "given several times, with other transcripts" in refusal(path=str(root), unreadable="skip")


def test_transcripts_in_other_encodings_and_links_that_lead_nowhere(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    for content in ("fünf".encode("cp1252"), "five".encode("utf-16"), "five".encode("utf-16-le")):
        (root / "03.txt").write_bytes(content)
        said = refusal(path=str(root))
        assert "1 transcript that cannot be read as utf-8: 03.txt" in said and "Set task.encoding" in said
    for path in root.glob("*.txt"):
        path.write_text(f"fünf {path.stem}", encoding="cp1252")
    data = load(path=str(root), encoding="cp1252")
    assert all(target[0].startswith("fünf") for target in data.train.targets)
    for name, part in (("03.wav", "1 of 12 train sounds cannot be read: 03.wav"), ("04.txt", "without a transcript")):
        (root / name).unlink()
        (root / name).symlink_to(root / name)
        assert part in refusal(path=str(root), encoding="cp1252")
    (root / "t.csv").write_text("audio,text\n03.wav,one\n00.wav,two\n", encoding="utf-8")
    assert "cannot be read: 03.wav" in refusal(path=str(root / "t.csv"))


def test_sources_that_do_not_fit(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    (root / "t.csv").write_text("audio,text\n../out.wav,one\n00.wav,two\n", encoding="utf-8")
    assert "1 sounds lie outside its folder" in refusal(path=str(root / "t.csv"))
    assert "is one sound: task.path names a folder" in refusal(path=str(root / "00.wav"))
    assert "no column 'audio'" in refusal(path=str(root / "t.csv"), audio="audio", text="said").replace(
        "no column 'said'", "no column 'audio'"
    )
    assert "needs sounds with transcripts: task.path=FOLDER" in refusal()
    assert "task.group=speaker is a column of a table" in refusal(path=str(root), group="speaker")
    (tmp_path / "none").mkdir()
    assert "has no sounds in it" in refusal(path=str(tmp_path / "none"))
    said = refusal(path=str(root), normalize="loud", language="English", window=0, unreadable="hide", metric="bleu")
    for part in ("task.normalize loud", "task.language is", "task.window is", "task.unreadable", "task.metric bleu"):
        assert part in said, part


def test_models_are_judged_by_their_files(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    whisper, waves = (write_speech(kind, tmp_path / kind) for kind in ("whisper", "wav2vec2"))

    def told(directory: Path, **settings: Any) -> str:
        problems = Problems()
        load(path=str(root), **settings).check_model("tiny", directory, problems)
        return " ".join(problems.messages)

    assert told(whisper) == "" and told(waves) == ""
    assert "knows English alone" in told(whisper, language="de")
    for path in root.glob("*.txt"):
        path.write_text("一 二 三", encoding="utf-8")
    assert "lacks 60% of the characters of the transcripts" in told(waves)
    (waves / "vocab.json").unlink()
    assert "has no vocab.json" in told(waves)
    (whisper / "config.json").write_text('{"model_type": "audio-spectrogram-transformer"}', encoding="utf-8")
    assert "writes no texts: name Whisper" in told(whisper)


def test_strings_of_digits_share_no_recording_between_splits(tmp_path: Path) -> None:
    for speaker in ("ann", "bob"):
        for digit in range(10):
            for index in range(12):
                # Each recording has a level of its own, by which it is known in a string.
                level = (1 + "ab".index(speaker[0]) * 120 + digit * 12 + index) / 300
                soundfile.write(tmp_path / f"{digit}_{speaker}_{index}.wav", np.full(80, level), 8_000, subtype="FLOAT")
    task = DigitStrings(
        name="s", path=str(tmp_path), digits=5, gap=0.01, train_strings=8, validation_strings=4, test_strings=30
    )
    data = task.load()
    used: dict[str, set[int]] = {}
    assert data.validation is not None
    for split in (data.train, data.validation, data.test):
        for row, name in enumerate(split.texts):
            samples, rate = data.sounds[name].decoded(10)
            marks = [round(float(each) * 300) - 1 for each in samples[40::160]]
            assert rate == 8_000 and len(marks) == 5 == len(split.targets[row][0].split())
            used.setdefault(split.name, set()).update(marks)
    assert {each % 12 for each in used["test"]} <= set(range(5)) and not used["test"] & used["train"]
    assert not used["validation"] & (used["train"] | used["test"])
    assert "30 test strings are more than the 20 in which each recording occurs once" in " ".join(data.warnings)
    assert task.load().fingerprint == data.fingerprint


def test_the_demo_is_the_same_everywhere() -> None:
    small = {"name": "d", "train_strings": 4, "validation_strings": 2, "test_strings": 3}
    one, two = DemoSpeech(**small).load(), DemoSpeech(**small).load()
    assert one.fingerprint == two.fingerprint != DemoSpeech(**small, data_seed=1).load().fingerprint
    with pytest.raises(HarnessError, match=r"task\.most_digits=1 must lie between"):
        DemoSpeech(**small, most_digits=1).load()


def test_recordings_of_digits_that_cannot_be_read(tmp_path: Path) -> None:
    """They are named before any string is joined, and left out when asked."""
    sound = np.sin(np.arange(2_000) / 9).astype(np.float32)
    for index in (*range(2), *range(5, 7), *range(10, 14)):
        for digit in range(3):
            soundfile.write(tmp_path / f"{digit}_ann_{index}.wav", sound[: 1_500 + 20 * index + digit], 8_000)
    (tmp_path / "2_ann_13.wav").write_bytes(b"RIFF")
    settings = {"name": "strings", "digits": 2, "path": str(tmp_path)}
    settings |= dict.fromkeys(("train_strings", "validation_strings", "test_strings"), 3)
    with pytest.raises(HarnessError, match=r"1 recording of .* cannot be read: 2_ann_13.wav .*task.unreadable=skip"):
        DigitStrings(**settings).load()
    data = DigitStrings(**settings, unreadable="skip").load()
    assert any("1 recording cannot be read" in each for each in data.warnings) and rows(data) == 9


def test_languages_that_a_model_does_not_know(tmp_path: Path) -> None:
    """By the tokens of its tokenizer, before it is loaded."""
    data = load(path=str(spoken(tmp_path / "said")), language="eng")
    tokens = [{"content": f"<|{each}|>"} for each in ("en", "de", "notimestamps")]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper", "vocab_size": 51_865}), encoding="utf-8")
    problems = Problems()
    data.check_model("mine", tmp_path, problems)
    assert problems.messages == ["model=mine does not know task.language=eng. Did you mean en? Known: de, en."]


def test_test_sounds_among_validation_sounds_are_told(tmp_path: Path) -> None:
    root = spoken(tmp_path / "said")
    for name in ("validation", "test"):
        (tmp_path / name).mkdir()
        for part in ("00.wav", "00.txt", "01.wav", "01.txt"):
            (tmp_path / name / part).write_bytes((root / part).read_bytes())
    data = load(path=str(root), validation_path=str(tmp_path / "validation"), test_path=str(tmp_path / "test"))
    assert "2 test sounds are validation sounds, too." in data.warnings
