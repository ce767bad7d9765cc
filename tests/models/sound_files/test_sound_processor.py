"""Feature extractors: windows, settings that are kept, and settings that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.models.network import load_tokenizer
from harness.models.sound_files.sound_architectures import longest_sound, reads_sounds
from harness.models.sound_files.sound_processor import SoundProcessor, load_sound_processor
from tests.helpers.tiny_sounds import RATE, TINY, pretrained, waveforms, write


@pytest.mark.parametrize("kind", TINY)
def test_what_is_saved_is_the_same_processor(tmp_path: Path, kind: str) -> None:
    directory = write(kind, tmp_path / kind)
    made = load_tokenizer(pretrained(directory).resolve(tmp_path))
    assert isinstance(made, SoundProcessor) and made.sampling_rate == RATE
    saved = tmp_path / "saved"
    saved.mkdir()
    made.save_pretrained(str(saved))
    again = load_sound_processor(saved, "saved model", None, {})
    assert again.key == made.key and reads_sounds(None, saved)
    sounds = waveforms([0.2, 0.7])
    assert np.array_equal(again.inputs(sounds), made.inputs(sounds))


def test_windows_are_half_seconds() -> None:
    made = SoundProcessor(TINY["wav2vec2"][1], "wav2vec2")
    assert made.window(np.array([1, 8000, 8001, 24_000])).tolist() == [8000, 8000, 16_000, 24_000]
    assert made.inputs(waveforms([0.1, 0.6])).shape == (2, 16_000)


def test_the_longest_sound_is_that_of_the_position_table(tmp_path: Path) -> None:
    found = {kind: longest_sound(write(kind, tmp_path / kind)) for kind in TINY}
    assert found["whisper"] == 3 and found["audio-spectrogram-transformer"] == 2 and found["hubert"] is None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    directory = write("wav2vec2", tmp_path / "model")
    file = directory / "preprocessor_config.json"
    with pytest.raises(HarnessError, match=r"model\.sampling_rate=8000, and .* says 16000"):
        load_sound_processor(directory, "here", "wav2vec2", {"sampling_rate": 8000})
    file.unlink()
    with pytest.raises(HarnessError, match=r"has no preprocessor_config\.json.* set model\.sampling_rate=16000"):
        load_sound_processor(directory, "here", "wav2vec2", {})
    assert load_sound_processor(directory, "here", "wav2vec2", {"sampling_rate": 8000}).sampling_rate == 8000
    for settings, said in (({"feature_extractor_type": "Mine"}, "Mine is none of"), ([1], "cannot be read|does not")):
        file.write_text(json.dumps(settings), encoding="utf-8")
        with pytest.raises(HarnessError, match=said):
            load_sound_processor(directory, "here", "wav2vec2", {})
    with pytest.raises(HarnessError, match=r"from 1000 to 384000, not 5"):
        pretrained(directory, sampling_rate=5)
