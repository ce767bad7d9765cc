"""Sound files are decoded to one channel; what cannot be used is found before compute, and says why."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.data.sounds import (
    ArraySound,
    BytesSound,
    FileSound,
    check_sounds,
    open_all,
    received_sound,
    resampled,
    wav,
)
from harness.errors import HarnessError

RATE = 8_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def encoded(samples: np.ndarray, kind: str, rate: int = RATE) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_formats_give_the_same_sound(kind: str) -> None:
    source = BytesSound(encoded(TONE, kind))
    samples, rate = source.decoded(10)
    assert rate == RATE and len(samples) == RATE and source.facts().seconds == 1
    assert np.abs(samples - TONE).max() < (0.1 if kind == "OGG" else 1e-4)
    assert len(source.decoded(0.25)[0]) == RATE // 4


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_that_ends_too_early_is_truncated(kind: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    whole = encoded(noise, kind)
    checked = check_sounds([BytesSound(whole), BytesSound(whole[: len(whole) * 2 // 3])])
    assert checked.digests[0] is not None and list(checked.bad) == [1] and "truncated" in checked.bad[1]


def test_a_wav_file_of_a_stream_is_whole() -> None:
    """Programs that write to a pipe do not know the length, and say the largest."""
    whole = bytearray(encoded(TONE, "WAV"))
    for place in (4, whole.index(b"data") + 4):
        whole[place : place + 4] = b"\xff\xff\xff\xff"
    assert not check_sounds([BytesSound(bytes(whole))]).bad


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    broken = TONE.copy()
    broken[7] = np.nan
    content = io.BytesIO()
    soundfile.write(content, broken, RATE, format="WAV", subtype="FLOAT")
    cases = (
        (b"", "empty file"), (b"not a sound at all, but text", "no sound file"), (content.getvalue(), "not finite"),
        (encoded(np.zeros(0, np.float32), "WAV"), "no samples"), (b"version https://git-lfs.github.com", "Git LFS"),
        (encoded(TONE, "WAV", 600), "600 samples a second"),
    )  # fmt: skip
    found = check_sounds([*(BytesSound(data) for data, _ in cases), FileSound(tmp_path / "gone.wav")])
    for row, (_, why) in enumerate(cases):
        assert why in found.bad[row], (why, found.bad[row])
    assert "no such file" in found.bad[len(cases)]
    with pytest.raises(HarnessError, match=r"1 of 1 sounds cannot be read: .*gone\.wav \(no such file"):
        open_all([str(tmp_path / "gone.wav")], {}, RATE, 1)


def test_channels_are_mixed_and_silence_is_seen() -> None:
    both = np.stack([TONE, -TONE / 2], axis=1)
    found = check_sounds([BytesSound(encoded(both, "WAV")), ArraySound(np.zeros(100, np.float32), RATE)])
    assert found.changes == {"sounds were mixed from several channels to one": 1}
    assert [facts.silent for facts in found.facts if facts] == [False, True]
    assert np.abs(BytesSound(encoded(both, "WAV")).decoded(1)[0] - TONE / 4).max() < 1e-4


@pytest.mark.parametrize("wanted", [16_000, 4_000, 11_025])
def test_resampling_keeps_the_tone(wanted: int) -> None:
    made = resampled(TONE, RATE, wanted)
    assert len(made) == -(-len(TONE) * wanted // RATE)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(made)) / wanted)
    inner = slice(len(made) // 10, -len(made) // 10)  # the filter has an edge
    assert np.abs(made - expected)[inner].max() < 0.01


def test_a_received_sound_is_as_one_from_a_file() -> None:
    """Its first seconds, mixed and resampled; a rate between which and the model's a filter is huge is refused."""
    both = np.stack([TONE, -TONE / 2], axis=1).repeat(80, axis=0)  # more than a block
    content = encoded(both, "FLAC", 44_100)
    expected = resampled(*BytesSound(content).decoded(7.5), 16_000)[: int(7.5 * 16_000)]
    found = received_sound(content, 16_000, 7.5, 20)
    assert found.rate == 16_000 and np.array_equal(found.array, expected)
    with pytest.raises(HarnessError, match="longer than 5 seconds"):
        received_sound(content, 16_000, 2, 5)
    assert len(received_sound(encoded(TONE[:800], "WAV", 22_050), 16_000, 1, 1).array)
    with pytest.raises(HarnessError, match="383,987 samples a second, no simple multiple of the 16,000"):
        received_sound(encoded(TONE, "WAV", 383_987), 16_000, 1, 1)


def test_a_wav_file_by_the_standard_library() -> None:
    read, rate = soundfile.read(io.BytesIO(wav(TONE * 3, RATE)), dtype="float32")
    assert rate == RATE and np.abs(read - np.clip(TONE * 3, -1, 1)).max() < 1e-3


def test_without_soundfile_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"pip install 'harness\[speech\]'"):
        check_sounds([FileSound(tmp_path / "a.wav")])
    assert not check_sounds([ArraySound(TONE, RATE)]).bad
