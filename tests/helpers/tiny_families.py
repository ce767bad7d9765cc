"""A saved model of each family, from a single run with a tiny model, by the command line in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from harness.cli import main as app
from tests.helpers import tiny_images, tiny_sounds
from tests.helpers.small_dataset import shorten
from tests.helpers.sound_folders import folders as sound_folders
from tests.helpers.tiny_detection import coco, detector
from tests.helpers.tiny_speech import spoken, write_speech

_FEW = ("train.epochs=1", "model.name=tiny")


def _images(home: Path) -> tuple[str, ...]:
    model = tiny_images.write("vit", home / "vit")
    root = tiny_images.folders(home / "cells")
    return ("task=images", f"task.path={root}", "task.name=cells", "model=own_image", f"model.path={model}")


def _detection(home: Path, model: Path) -> tuple[str, ...]:
    task = ("task=detection", f"task.path={coco(home / 'squares')}", "task.name=squares", "task.input_size=[32,40]")
    return (*task, "task.least_score=0.01", "model=own_image", f"model.path={model}")


def _sounds(home: Path) -> tuple[str, ...]:
    model = tiny_sounds.write("wav2vec2", home / "waves")
    root = sound_folders(home / "tones", count=12)
    return ("task=audio", f"task.path={root}", "task.name=tones", "model=own_sound", f"model.path={model}")


def _speech(home: Path, kind: str) -> tuple[str, ...]:
    task = ("task=speech", f"task.path={spoken(home / 'said')}", "task.name=said", "task.window=2")
    model = write_speech(kind, home / kind)
    return (*task, "task.max_length=12", "model=own_sound", f"model.path={model}")


def _tags(home: Path) -> tuple[str, ...]:
    few = ("task.train_sentences=80", "task.validation_sentences=20", "task.test_sentences=30")
    return ("task=demo_tags", *few, "model=own", f"model.path={shorten()}")


# By family, or family and what is special: the arguments of a run, but its method; files are made below a folder.
TINY: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "image_classification": _images,
    "audio_classification": _sounds,
    "object_detection": lambda home: _detection(home, tiny_images.write("efficientnet_lite", home / "lite")),
    "detector": lambda home: _detection(home, detector(home / "yolos")),
    "speech_recognition": lambda home: _speech(home, "whisper"),
    "ctc": lambda home: _speech(home, "wav2vec2"),
    "token_tagging": _tags,
    "recommendation": lambda home: ("task=demo_ratings", "task.users=40", "task.visits=8", "model=interactions"),
}


def saved(kind: str, method: str, home: Path, cache: Path, *more: str) -> Path:
    """Return the model that a single run of a family leaves.

    Args:
        kind: of `TINY`.
        method: name of the method.
        home: an empty folder; runs and data lie there.
        cache: as `cache_dir`.
        more: further arguments.
    """
    home.mkdir(parents=True, exist_ok=True)
    few = _FEW if kind != "recommendation" else ()
    arguments = ["harness", *TINY[kind](home), *few, f"method={method}", *more, f"cache_dir={cache}"]
    with contextlib.chdir(home), mock.patch.object(sys, "argv", arguments), _quiet() as said:
        try:
            app.main()
        except SystemExit as exit_:
            assert not exit_.code, said.getvalue()
    (found,) = (home / "runs" / "single").glob("runs/*/*/model")
    return found


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]  # of contextlib
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
