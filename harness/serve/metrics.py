"""Counters and histograms of a service, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What a service measures of itself. No metric holds a text, and none a tenant's name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        every: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("harness_requests", "Requests answered", ["path", "status"], **every)
        self.seconds = Histogram(
            "harness_request_seconds", "Seconds from request to answer", ["path"], buckets=SECONDS, **every
        )
        self.open = Gauge("harness_open_requests", "Requests being answered", **every)
        self.batch_rows = Histogram("harness_batch_rows", "Rows of a batch", ["model"], buckets=ROWS, **every)
        self.batch_seconds = Histogram(
            "harness_batch_seconds", "Seconds of a batch", ["model"], buckets=SECONDS, **every
        )
        self.answers = Counter("harness_predictions", "Rows by predicted class", ["model", "label"], **every)
        self.abstentions = Counter("harness_abstentions", "Rows not answered", ["model", "reason"], **every)
        self.shadow_failures = Counter("harness_shadow_failures", "Requests a shadow failed at", ["reason"], **every)
        self.tokens = Counter("harness_tokens", "Tokens of conversations", ["model", "kind"], **every)
        self.queue = Gauge("harness_queue_rows", "Rows that wait for a model", ["model"], **every)
        self.feedback = Counter("harness_feedback", "Feedback rows stored", ["model"], **every)

    def batches(self, model: str) -> Callable[[int, int, float], None]:
        """Return what a batcher tells its batches to."""
        rows, seconds = self.batch_rows.labels(model), self.batch_seconds.labels(model)

        def measure(count: int, requests: int, took: float) -> None:
            rows.observe(count)
            seconds.observe(took)

        return measure

    def text(self) -> bytes:
        """Return all values."""
        return generate_latest(self.registry)
