"""What computes a model: torch or ONNX Runtime, the faster one by measurement."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.api.family import family_of
from harness.errors import HarnessError
from harness.serving.confidence.detectors import OF_FEATURES
from harness.serving.confidence.judging import has_features
from harness.serving.predict import Predictor

REPEATS = 7  # of each measurement; medians are compared
TOLERANCE = 1e-3  # largest difference of probabilities, or of outputs without classes, at which ONNX may be chosen
_TEXT = "I ordered two of them last week, and one has still not arrived: where is it?"


def chosen(
    predictor: Predictor, facts: Mapping[str, Any], engine: str, file: Path, say: Callable[[str], None]
) -> tuple[Predictor, str]:
    """Return the predictor by the engine that is asked for, and the engine's name.

    Args:
        predictor: the model as loaded.
        facts: its harness.json.
        engine: auto | torch | onnx.
        file: where its ONNX file is kept between starts; written if it is needed and missing.
        say: told what takes long, and the measurement.

    Raises:
        HarnessError: the engine cannot compute this model.
    """
    if facts.get("export") == "onnx":
        if engine == "torch":
            raise HarnessError("This export is an ONNX file, which torch does not compute: --engine onnx or auto.")
        return predictor, "onnx"
    obstacle = _obstacle(predictor, facts)
    if engine == "torch" or (engine == "auto" and obstacle):
        return predictor, "torch"
    if engine == "auto" and (reason := _features_needed(predictor)):
        say(f"torch computes it: {reason}, and an ONNX file has none (--engine onnx goes without).")
        return predictor, "torch"
    if obstacle:
        raise HarnessError(f"--engine onnx cannot compute this model: {obstacle}. Set --engine torch.")
    try:
        other = _by_onnx(predictor, file, say)
    except HarnessError as error:
        if engine == "onnx":
            raise
        say(f"torch computes it: {error}")
        return predictor, "torch"
    if engine == "onnx":
        return other, "onnx"
    return _faster(predictor, other, say)


def _obstacle(predictor: Predictor, facts: Mapping[str, Any]) -> str | None:
    family = family_of(facts.get("family"))
    if family.reads != "text" or family.tokens:
        return f"it is of {family.name}, and only models of whole texts are computed by ONNX"
    if family.writes:
        return "it writes texts, token by token"
    if family.retrieves:
        return "it ranks passages, by vectors or by words"
    if facts["model"].get("quantize"):
        return "its base is quantized"
    if predictor.device != "cpu":
        return f"it is on {predictor.device}, and ONNX Runtime is used on CPUs only"
    lacks = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    return f"{', '.join(lacks)} must be installed (pip install 'harness[export]')" if lacks else None


def _features_needed(predictor: Predictor) -> str | None:
    """Return what of the answers would change without features; None if nothing would."""
    known = predictor.confidence
    if known is not None and known.detector(has_features(predictor.network)) in OF_FEATURES:
        return f"{known.detector(True)}, its detector of rows out of scope, needs features"
    return "similar training rows are found by features" if predictor.similar is not None else None


def _by_onnx(predictor: Predictor, file: Path, say: Callable[[str], None]) -> Predictor:
    from harness.export.onnx_format import export_onnx
    from harness.records.files import atomic
    from harness.serving.exported import OnnxNetwork

    if not file.is_file():
        say(f"Writing the model as ONNX, once: {file} (--engine torch skips this).")
        try:
            with atomic(file) as temporary:
                export_onnx(predictor, temporary)
        except OSError as error:
            raise HarnessError(f"the ONNX file cannot be kept in the cache ({error.strerror}).") from error
    return replace(predictor, network=OnnxNetwork(file))


def _faster(one: Predictor, other: Predictor, say: Callable[[str], None]) -> tuple[Predictor, str]:
    """Measure both in turn, on one row and on eight; choose by the sum of the seconds a row."""
    import numpy as np

    pairs = [_TEXT] * 8 if one.pairs else None
    texts = [_TEXT[: 20 + 8 * number] for number in range(8)]
    expected, found = one.predictions(texts, pairs), other.predictions(texts, pairs)
    if not np.allclose(expected, found, atol=TOLERANCE, rtol=TOLERANCE):
        say("torch computes it: ONNX Runtime gives other predictions for this model.")
        return one, "torch"
    seconds = {name: [_seconds(each, rows) for rows in (1, 8)] for name, each in (("torch", one), ("onnx", other))}
    shown = ", ".join(
        f"{name} {1000 * single:.1f} ms for 1 row and {1000 * eight:.1f} for 8"
        for name, (single, eight) in seconds.items()
    )
    say(f"Measured: {shown}.")
    by_row = {name: single + eight / 8 for name, (single, eight) in seconds.items()}
    return (other, "onnx") if by_row["onnx"] < by_row["torch"] else (one, "torch")


def _seconds(predictor: Predictor, rows: int) -> float:
    texts, pairs = [_TEXT] * rows, [_TEXT] * rows if predictor.pairs else None
    taken = []
    for _ in range(REPEATS + 1):  # the first one warms up
        began = time.perf_counter()
        predictor.predictions(texts, pairs)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def to_stdout(line: str) -> None:
    """Say a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
