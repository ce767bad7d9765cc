"""A study of speech from end to end, and what is refused before compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from harness.serving.predict import load
from harness.serving.predict import main as predict
from tests.helpers import tiny_sounds
from tests.helpers.small_dataset import shorten
from tests.helpers.tiny_speech import spoken, write_speech

Main = Callable[..., tuple[int, str]]


def test_a_study_of_speech(tmp_path: Path, main: Main) -> None:
    """Two kinds of models and methods in one study; report with alignments; the saved model predicts new sounds."""
    root = spoken(tmp_path / "said", count=16)
    whisper, waves = (write_speech(kind, tmp_path / kind) for kind in ("whisper", "wav2vec2"))
    task = ("task=speech", f"task.path={root}", "task.name=said", "task.window=2", "task.max_length=12")
    code, printed = main(
        "-m", "study=said", *task, "model=own_sound", f"model.path={whisper}", "model.name=tiny",
        "method=zero_shot,lora", "train.epochs=2", "tune.trials=2", "tune.sampler=random", "confirm.seeds=2",
        "keep=all", "launch.kind=inline", "axes=[]",
    )  # fmt: skip
    assert code == 0, printed
    confirmed = sorted((tmp_path / "runs/said").glob("runs/*lora/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "speech_recognition" and record["data"]["normalize"] == "basic"
    table = pd.read_parquet(confirmed[0].parent / "predictions.parquet").query("split == 'test'")
    assert {"alignment", "errors", "words", "clip", "score_wer"} <= set(table) and (table["words"] == 2).all()
    assert table["score_wer"].mean() == table["errors"].sum() / table["words"].sum()
    page = (tmp_path / "reports/said/index.html").read_text(encoding="utf-8")
    assert "utterances with the most wrong words" in page and "<audio controls" in page
    directory = confirmed[0].parent / "model"
    output = tmp_path / "out.csv"
    assert predict([str(directory), str(root), "--output", str(output)]) == 0
    written = pd.read_csv(output, keep_default_na=False)
    assert list(written.columns) == ["audio", "prediction"] and len(written) == 16
    model = load(directory)
    assert model.predict(sorted(root.glob("*.wav"))[:3]) == written["prediction"].tolist()[:3]
    soundfile.write(tmp_path / "long.wav", np.full(8_000 * 5, 0.1), 8_000)
    assert predict([str(directory), str(tmp_path / "long.wav"), "--output", str(output)]) == 2

    code, printed = main(*task, "model=own_sound", f"model.path={waves}", "method=full", "train.epochs=1")
    assert code == 0, printed
    (found,) = (tmp_path / "runs/single").glob("runs/*/*/model")
    assert len(load(found).predict([root / "00.wav"])) == 1


def test_what_does_not_fit_is_refused_before_compute(tmp_path: Path, main: Main) -> None:
    small = ("task=demo_speech", "task.train_strings=3", "task.validation_strings=2", "task.test_strings=2")
    whisper, other = write_speech("whisper", tmp_path / "whisper"), tiny_sounds.write("wavlm", tmp_path / "wavlm")
    own = (*small, "model=own_sound", f"model.path={whisper}", "model.name=tiny")
    text = (f"model.path={shorten()}", "model.digests_of=null", "model.digests=null")
    for arguments, said in (
        ((*own, "method=prompt_tuning"), "method=prompt_tuning is for texts"),
        ((*own, "method=linear_probe"), "method=linear_probe is for"),
        ((*own, "method=few_shot"), "method=few_shot is for"),
        ((*own, "augment=eda"), "augment=eda"),
        ((*own, "train.label_smoothing=0.1"), "train.label_smoothing=0.1 has no meaning"),
        ((*own, "train.neftune=5"), "train.neftune=5 has no meaning"),
        ((*own, "task.least_digits=12", "task.most_digits=16", "task.window=8"), "reads 3 seconds, and there"),
        ((*small, *text), "reads texts, and the rows of task=demo_speech are sounds. Models that"),
        ((*small, "model=own_sound", f"model.path={other}"), "lm_head"),
    ):  # fmt: skip
        code, printed = main(*arguments)
        assert code == 2 and said in printed.replace("\n", " "), (arguments, printed)
    assert not (tmp_path / "runs").exists()
