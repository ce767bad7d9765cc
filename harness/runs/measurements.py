"""What a model costs once it is trained, and what a run drew while it trained: latency, throughput, size, energy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from harness.data.dataset import Split
from harness.data.examples import Examples
from harness.data.tokenization import encode
from harness.models.classifier import Classifier
from harness.models.inference import autocast, softmax
from harness.runs.context import RunContext

WARM_UP = 3  # calls that do not count: the first ones pick kernels and fill caches
CALLS = 50  # single texts whose latency is measured
BATCH = 32  # texts a batch where throughput is measured
BATCHES = 2  # seeds repeat it
SECONDS = 3.0  # of each of the two measurements, whichever ends first


def serving(experiment: RunContext, classifier: Classifier) -> dict[str, float]:
    """Measure how fast an adapted model answers, tokenising included, on the device and threads of its run.

    Args:
        experiment: gives texts, of the test split (in tuning, which must not see it, of the train split), and the
            tokenizer.
        classifier: in any mode; left in eval mode.

    Returns:
        `latency_p50_seconds` and `latency_p95_seconds` of one text at a time, and `throughput_per_second`: texts a
        second in batches of 32. Other work on the machine slows them as it would slow a service.
    """
    classifier.to(experiment.device).eval()
    singles = list(_parts(experiment, 1, CALLS + WARM_UP))
    calls = [seconds for seconds, _ in _timed(experiment, classifier, singles)]
    batches = list(_timed(experiment, classifier, list(_parts(experiment, BATCH, BATCHES + 1)), warm_up=1))
    return {
        "latency_p50_seconds": float(np.percentile(calls, 50)),
        "latency_p95_seconds": float(np.percentile(calls, 95)),
        "throughput_per_second": sum(rows for _, rows in batches) / sum(seconds for seconds, _ in batches),
    }


def _parts(experiment: RunContext, size: int, count: int) -> Iterator[Split]:
    """Cut parts from a split, evenly spread, rows again from the start where there are too few."""
    test = experiment.data.test if experiment.tests else experiment.data.train
    rows = np.linspace(0, len(test) - 1, size * count).astype(np.int64)
    for index in range(count):
        part = rows[index::count]  # spread too, so that each batch has short and long texts
        texts = [test.texts[row] for row in part]
        pairs = None if test.pairs is None else [test.pairs[row] for row in part]
        yield Split("serving", texts, pairs, test.labels[part], test.ids[part])


def _timed(
    experiment: RunContext, classifier: Classifier, parts: list[Split], warm_up: int = WARM_UP
) -> Iterator[tuple[float, int]]:
    """Answer parts, one after another: seconds and texts of each, at least of one."""
    encoder, device = experiment.encoder, experiment.device
    tokenizer, length = encoder.tokenizer, encoder.length
    padding = tokenizer.pad_token_id or 0
    begun = time.perf_counter()
    for index, part in enumerate(parts):
        start = time.perf_counter()
        examples = Examples(encode(part, tokenizer, length), part.labels, padding)
        with torch.no_grad(), autocast(device, experiment.train.precision):
            batch = examples.batch(np.arange(len(part)), device)
            softmax(classifier(batch).float().cpu().numpy())  # the copy to the host waits for the device
        end = time.perf_counter()
        if index >= warm_up:
            yield end - start, len(part)
            if end - begun > SECONDS:
                return


def weight_bytes(classifier: Classifier) -> int:
    """Bytes of the weights that belong to the adapted model alone: its head and whatever a method trained."""
    own = classifier.trainable() | dict(classifier.head_parameters())
    return sum(parameter.numel() * parameter.element_size() for parameter in own.values())


def occupied(seconds: float, device: str | None, neighbours: int) -> dict[str, float | None]:
    """Give what a run held of its machine: `accelerator_seconds` (None without one) and `core_seconds`.

    Args:
        seconds: the run's total.
        device: cpu | cuda | mps; None where it was not found.
        neighbours: how many processes shared the device, this one included. Each counts for its share of it.
    """
    return {
        "accelerator_seconds": seconds / neighbours if device in ("cuda", "mps") else None,
        "core_seconds": seconds * torch.get_num_threads(),
    }


class Energy:
    """Energy that the GPU drew since this was made, by NVML's counter (Volta and later).

    All of the device's draw counts, also that of other processes. Elsewhere, and without the package `nvidia-ml-py`,
    there is no figure.
    """

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        if device == "cuda":
            with contextlib.suppress(Exception):  # a driver without NVML, a GPU without the counter: no figure
                import pynvml

                pynvml.nvmlInit()
                uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
                self._start = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def joules(self) -> float | None:
        """The draw so far; None where it cannot be told."""
        if self._handle is None:
            return None
        with contextlib.suppress(Exception):  # as above
            import pynvml

            return (int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) - self._start) / 1000
        return None
