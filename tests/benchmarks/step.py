"""What a training step takes, and on what: `python -m tests.benchmarks.step [--settings A B ...] [--json FILE]`.

MiniLM with random weights, LoRA of rank 8 on queries and values, dropout 0.1, on rows of one length. The settings take
steps in turn (A B A B ...), and their CPU seconds are compared, which other processes of the machine change little. The
shares are those of a profile of some steps: masks are what draws random numbers and compares them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from harness.models import inference
from harness.models.cpu_kernels import use_fast_products
from harness.records.files import write_json
from harness.system.machine import device_name
from harness.training import masks
from harness.training.fused import FusedGroup, fused_groups
from harness.training.session import TrainingSession
from tests.benchmarks.gpu import SIZES, Case, make, random_backbone, round_

SHAPES = ((32, 19), (64, 32))  # rows, tokens
SETTINGS: dict[str, dict[str, Any]] = {
    "native": {"dropout_masks": "native"},
    "lanes": {"dropout_masks": "lanes"},
    "autocast": {"dropout_masks": "lanes", "precision": "bf16"},  # frozen weights cast at each use
    "bf16": {"dropout_masks": "lanes", "precision": "bf16"},
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addmm_", "mkldnn::_linear_pointwise")
DRAWS = ("aten::bernoulli_", "lanes", "masks")
CPU = torch.device("cpu")
PROFILES = 7  # of a step each; a profile is of wall time, which other processes disturb, so the median counts


def main() -> None:
    """Measure each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["native", "lanes"], choices=list(SETTINGS))
    parser.add_argument("--shapes", nargs="+", default=[f"{rows}x{tokens}" for rows, tokens in SHAPES])
    parser.add_argument("--members", type=int, default=1, help="above 1: sessions in shared passes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    use_fast_products()
    results = []
    for shape in asked.shapes:
        rows, tokens = map(int, shape.split("x"))
        case = Case("minilm", asked.members, rows, tokens, 1.0)
        results.append(measure(case, asked.settings, asked.rounds) | {"threads": asked.threads})
        print(results[-1], flush=True)
        if asked.json:
            write_json(asked.json, results)


def measure(case: Case, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return CPU seconds of a step of all members by setting, ratios to the first setting, and shares of a profile."""
    backbone = random_backbone(*SIZES[case.size], CPU)
    units = {name: _units(case, backbone, SETTINGS[name]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds + 1):  # the first round is not counted
        for name in names:
            with _casting(name):
                start = time.process_time()
                _step(*units[name])
                seconds[name].append(time.process_time() - start)
    typical = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return {
        "name": case.name,
        "cpu_seconds": {name: round(each, 4) for name, each in typical.items()},
        "ratio": {name: round(typical[names[0]] / each, 3) for name, each in typical.items()},
        "shares": {name: _profiled(name, *units[name]) for name in names},
        "hardware": device_name("cpu"),
    }


Units = tuple[list[TrainingSession], list[FusedGroup | TrainingSession]]


def _units(case: Case, backbone: torch.nn.Module, settings: dict[str, Any]) -> Units:
    sessions = []
    for seed in range(case.sessions):
        session = make(case, backbone, seed, CPU, settings)
        session.network.train()
        sessions.append(session)
    units = fused_groups(sessions) if case.sessions > 1 else list(sessions)
    return sessions, units


def _step(sessions: list[TrainingSession], units: list[FusedGroup | TrainingSession]) -> None:
    round_(sessions, units, CPU)


@contextmanager
def _casting(name: str) -> Iterator[None]:
    """Cast frozen weights as the setting says."""
    kept = inference.KeptCasts
    inference.KeptCasts = nullcontext if name == "autocast" else kept  # type: ignore[misc,assignment]  # for a measurement
    try:
        yield
    finally:
        inference.KeptCasts = kept  # type: ignore[misc]  # as it was


def _profiled(
    name: str, sessions: list[TrainingSession], units: list[FusedGroup | TrainingSession]
) -> dict[str, float]:
    with _casting(name):
        return _shares(sessions, units)


def _shares(sessions: list[TrainingSession], units: list[FusedGroup | TrainingSession]) -> dict[str, float]:
    """Return shares of a step in a profile, by kind of work."""
    found = [_profile(sessions, units) for _ in range(PROFILES)]
    return {name: round(statistics.median(each[name] for each in found), 4) for name in found[0]}


def _profile(sessions: list[TrainingSession], units: list[FusedGroup | TrainingSession]) -> dict[str, float]:
    with _marked(), profile(activities=[ProfilerActivity.CPU]) as found:
        _step(sessions, units)
    events = found.key_averages()
    whole = sum(each.self_cpu_time_total for each in events)
    drawn = sum(each.self_cpu_time_total for each in events if each.key in DRAWS)
    products = sum(each.self_cpu_time_total for each in events if each.key in PRODUCTS)
    return {"masks": drawn / whole, "products": products / whole}


@contextmanager
def _marked() -> Iterator[None]:
    """Name the drawing of masks in profiles."""
    draw, select = masks.MaskStream.lanes, masks.MaskStream.kept

    def lanes(stream: masks.MaskStream, count: int) -> masks.Lanes:
        with record_function("lanes"):
            return draw(stream, count)

    def kept(stream: masks.MaskStream, count: int, probability: float) -> masks.Kept:
        with record_function("masks"):
            return select(stream, count, probability)

    masks.MaskStream.lanes, masks.MaskStream.kept = lanes, kept  # type: ignore[method-assign]  # for a profile
    try:
        yield
    finally:
        masks.MaskStream.lanes, masks.MaskStream.kept = draw, select  # type: ignore[method-assign]  # as it was


if __name__ == "__main__":
    main()
