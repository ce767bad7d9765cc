"""A study of sounds from end to end: trials, confirmations, report with players, saved model, prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness.serving.predict import load
from harness.serving.predict import main as predict
from tests.helpers import tiny_images
from tests.helpers.small_dataset import shorten
from tests.helpers.sound_folders import folders
from tests.helpers.tiny_sounds import write

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("whisper", tmp_path_factory.mktemp("whisper"))


def test_a_study_of_sounds(tmp_path: Path, main: Main, whisper: Path) -> None:
    """Every part of a study takes sounds; the saved model predicts a folder, a file and a list of paths."""
    root = folders(tmp_path / "tones", count=16)
    for number in range(0, 16, 4):  # wrong labels, so that something is missed
        (root / "low" / f"wrong{number}.wav").write_bytes((root / "high" / f"{number:02d}.wav").read_bytes() + b" ")
    code, printed = main(
        "-m", "study=tones", "task=audio", f"task.path={root}", "task.name=tones", "model=own_sound",
        f"model.path={whisper}", "model.name=tiny", "method=linear_probe,lora", "train.epochs=2", "tune.trials=2",
        "tune.sampler=random", "confirm.seeds=2", "keep=all", "launch.kind=inline", "axes=[]",
    )  # fmt: skip
    assert code == 0, printed
    confirmed = sorted((tmp_path / "runs/tones").glob("runs/*lora/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "audio_classification" and record["data"]["sampling_rate"] == 8_000
    every = pd.read_parquet(confirmed[0].parent / "predictions.parquet")
    table = every.query("split == 'test'")
    missed = table["label"] != table["prediction"]
    assert table["audio"].str.contains("/").all() and (table["clip"].notna() == missed).all() and missed.any()
    page = (tmp_path / "reports/tones/index.html").read_text(encoding="utf-8")
    assert "Hardest test rows" in page and "confusion-" in page and '<audio controls preload="none" src="data:' in page
    assert "media-src data:" in page  # the page's own policy lets no other sounds in
    directory = confirmed[0].parent / "model"
    files = sorted(root.rglob("*.wav"))[:5]
    found = load(directory).predict([str(each) for each in files])
    output = tmp_path / "out.csv"
    assert predict([str(directory), str(root / "high"), "--output", str(output)]) == 0
    written = pd.read_csv(output)
    assert list(written.columns) == ["audio", "prediction", "probability: high", "probability: low"]
    assert written["prediction"].tolist()[:5] == found and len(written) == 16
    listing = root / "some.csv"
    listing.write_text("audio\n" + "".join(f"{each.relative_to(root)}\n" for each in files), encoding="utf-8")
    assert predict([str(directory), str(listing), "--output", str(output)]) == 0
    assert pd.read_csv(output)["prediction"].tolist() == found
    soundfile.write(tmp_path / "new.flac", np.random.default_rng(0).normal(0, 0.1, (9_000, 2)), 22_050)
    assert predict([str(directory), str(tmp_path / "new.flac"), "--output", str(output)]) == 0
    soundfile.write(tmp_path / "long.wav", np.full(8_000 * 5, 0.1), 8_000)  # more than the model reads
    assert predict([str(directory), str(tmp_path / "long.wav"), "--output", str(output)]) == 0
    assert predict([str(directory), str(root / "gone"), "--output", str(output)]) == 2


def test_examples_can_be_kept_out_of_the_page(tmp_path: Path, main: Main, whisper: Path) -> None:
    root = folders(tmp_path / "tones")
    code, printed = main(
        "-m", "study=tones", "task=audio", f"task.path={root}", "model=own_sound", f"model.path={whisper}",
        "method=nearest_mean", "confirm.seeds=1", "launch.kind=inline", "report.examples=false", "axes=[]",
    )  # fmt: skip
    assert code == 0, printed
    assert "<audio" not in (tmp_path / "reports/tones/index.html").read_text(encoding="utf-8")


def test_what_does_not_fit_is_refused_before_compute(tmp_path: Path, main: Main, whisper: Path) -> None:
    small = ("task.train_per_class=3", "task.validation_per_class=2", "task.test_per_class=2")
    sound = ("task=demo_sounds", *small, "model=own_sound", f"model.path={whisper}", "model.name=tiny")
    text = (f"model.path={shorten()}", "model.digests_of=null", "model.digests=null")
    vit = tiny_images.write("vit", tmp_path / "vit")
    waves = write("wavlm", tmp_path / "wavlm")
    for arguments, said in (
        ((*sound, "method=prompt_tuning"), "method=prompt_tuning is for texts"),
        ((*sound, "method=zero_shot"), "method=zero_shot is for"),
        ((*sound, "augment=eda"), "augment=eda changes texts"),
        ((*sound, "augment=mixup"), "augment=mixup changes images"),
        ((*sound, "train.fgm=0.5"), "train.fgm=0.5 has no meaning"),
        ((*sound, "train.neftune=5"), "train.neftune=5 has no meaning"),
        ((*sound, "model.pooling=cls"), "cls is not for sounds: choose mean, mean_std, quarters"),
        ((*sound, "model.layer=9"), "model.layer=9: model=tiny has 2 blocks"),
        ((*sound, "task.seconds=4"), "model=tiny reads 3 seconds, and there are sounds of"),
        (("task=demo_sounds", *small, *text), "reads texts, and the rows of task=demo_sounds are sounds. Models that"),
        (("task=demo_sounds", *small, *text), "ast, hubert-base, own_sound, wav2vec2-base, wavlm-base, whisper-small"),
        (("task=demo_sounds", *small, "model=own_image", f"model.path={vit}"), "reads images, and the rows of"),
        (("task=demo", *sound[4:]), "reads sounds, and the rows of task=demo are texts"),
        (("task=demo_images", *sound[4:]), "reads sounds, and the rows of task=demo_images are images"),
        (
            ("task=demo_sounds", *small, "model=own_sound", f"model.path={waves}", "method=lora",
             "method.config.target_modules=[q_proj,v_proj]"),
            "without calling the layer, so an adapter there has no effect",
        ),
    ):  # fmt: skip
        code, printed = main(*arguments)
        assert code == 2 and said in printed.replace("\n", " "), (arguments, printed)
    assert not (tmp_path / "runs").exists()


def test_another_model_of_sounds_trains(tmp_path: Path, main: Main) -> None:
    """A run of an architecture that reads waveforms, with layers as the features."""
    waves = write("wav2vec2-masked", tmp_path / "waves")
    code, printed = main(
        "task=demo_sounds", "task.train_per_class=4", "task.validation_per_class=2", "task.test_per_class=2",
        "model=own_sound", f"model.path={waves}", "model.layer=1", "model.pooling=mean_std", "method=bitfit",
        "train.epochs=1",
    )  # fmt: skip
    assert code == 0, printed
