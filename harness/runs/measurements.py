"""Costs of a trained model and of its run: latency, throughput, size, machine time and energy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from harness.data.dataset import Split
from harness.models.network import AdaptedModel
from harness.runs.prepare import PreparedRun

WARM_UP = 3  # calls that are not measured: the first ones select kernels and fill caches
CALLS = 50  # single texts whose latency is measured
BATCH = 32  # texts per batch for throughput
BATCHES = 2  # few are enough: runs repeat it at other seeds
SECONDS = 3.0  # limit for each of the two measurements, whichever ends first


def serving(run: PreparedRun, network: AdaptedModel) -> dict[str, float]:
    """Measure the prediction speed of an adapted model, tokenization included, on the device and threads of its run.

    Args:
        experiment: gives the tokenizer and texts, of the test split or, in tuning, which must not read that, of the
            train split.
        network: in any mode; left in eval mode.

    Returns:
        `latency_p50_seconds` and `latency_p95_seconds` of one text at a time, and `throughput_per_second`: texts per
            second in batches of 32. For a family that writes texts also `single_tokens_per_second` and
            `batch_tokens_per_second`, tokens written per second in either, and `thousand_tokens_seconds`. Other load on
            the machine slows them as it would slow a service.
    """
    network.to(run.device).eval()
    singles = list(_timed(run, network, list(_parts(run, 1, CALLS + WARM_UP))))
    calls = [seconds for seconds, _, _ in singles]
    batches = list(_timed(run, network, list(_parts(run, BATCH, BATCHES + 1)), warm_up=1))
    measured = {
        "latency_p50_seconds": float(np.percentile(calls, 50)),
        "latency_p95_seconds": float(np.percentile(calls, 95)),
        "throughput_per_second": sum(rows for _, rows, _ in batches) / sum(seconds for seconds, _, _ in batches),
    }
    single, batch = _token_rate(singles), _token_rate(batches)
    if single:
        measured["single_tokens_per_second"] = single
    if batch:
        measured |= {"batch_tokens_per_second": batch, "thousand_tokens_seconds": 1000 / batch}
    return measured


def _token_rate(calls: list[tuple[float, int, int]]) -> float:
    """Return the tokens written per second; 0 where none are written."""
    return sum(tokens for _, _, tokens in calls) / sum(seconds for seconds, _, _ in calls)


def _parts(run: PreparedRun, size: int, count: int) -> Iterator[Split]:
    """Yield evenly spread parts of a split; rows repeat if there are too few."""
    test = run.data.test if run.tests else run.data.train
    rows = np.linspace(0, len(test) - 1, size * count).astype(np.int64)
    for index in range(count):
        yield test.take(rows[index::count], "serving")  # spread, too, so that each batch has short and long texts


def _timed(
    run: PreparedRun, network: AdaptedModel, parts: list[Split], warm_up: int = WARM_UP
) -> Iterator[tuple[float, int, int]]:
    """Predict parts one after another; yield seconds, texts and written tokens of each, at least of one."""
    encoder, device = run.encoder, run.device
    tokenizer, backbone, length = encoder.tokenizer, encoder.backbone, encoder.length
    begun = time.perf_counter()
    for index, part in enumerate(parts):
        start = time.perf_counter()
        examples = run.task.inputs(part, tokenizer, backbone, length)
        # Waits for the device.
        predictions = run.task.predict(network, examples, len(part), device, run.train.precision)
        end = time.perf_counter()
        slow = end - begun > SECONDS  # in so long a time what is loaded on the first call does not count
        if index >= warm_up or slow:
            yield end - start, len(part), run.task.written(predictions)
            if slow:
                return


def weight_bytes(network: AdaptedModel) -> int:
    """Return the bytes of the weights specific to the adapted model: its head and whatever the method trained."""
    own = network.trainable() | dict(network.head_parameters())
    return sum(parameter.numel() * parameter.element_size() for parameter in own.values())


def occupied(seconds: float, device: str | None, co_located: int, devices: int = 1) -> dict[str, float | None]:
    """Return the machine time that a run used: `accelerator_seconds` (None without one) and `core_seconds`.

    Args:
        seconds: total duration of the run.
        device: cpu | cuda | mps; None if unknown.
        co_located: number of co-located processes on the device, this one included; a run is charged its fraction.
        devices: number of processes of the run, each with a device and threads of its own.
    """
    return {
        "accelerator_seconds": seconds * devices / co_located if device in ("cuda", "mps") else None,
        "core_seconds": seconds * devices * torch.get_num_threads(),
    }


class Energy:
    """Energy drawn by the GPU since construction, from NVML's counter (Volta and later).

    It covers the whole device, other processes included. On other devices, and without the package `nvidia-ml-py`, it
    is unknown.
    """

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        if device == "cuda":
            with contextlib.suppress(Exception):  # unknown for a driver without NVML or a GPU without the counter
                import pynvml

                pynvml.nvmlInit()
                uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
                self._start = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def joules(self) -> float | None:
        """Return the energy so far; None if unknown."""
        if self._handle is None:
            return None
        with contextlib.suppress(Exception):  # as above
            import pynvml

            return (int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) - self._start) / 1000
        return None
