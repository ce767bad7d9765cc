"""Dynamic batching: requests that wait for a model share its next pass."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.serve.settings import Refusal, Settings

Predict = Callable[[Sequence[Any], Sequence[str] | None], Any]


@dataclass(eq=False)
class Job:
    """The rows of one request.

    Attributes:
        texts, pairs: of the rows.
        result: receives their predictions.
        since: when it came, by `time.monotonic`.
    """

    texts: Sequence[Any]
    pairs: Sequence[str] | None
    result: asyncio.Future[Any]
    since: float


class Batcher:
    """Joins requests into batches, one batch of a model at a time.

    A batch starts when the lane is free and either `max_batch` rows wait or the oldest request has waited
    `max_wait_ms`. So a request waits at most for the batch under way and for those before it in the queue, whose rows
    are bounded.

    Args:
        predict: computes the predictions of n rows, an array of length n; called in the lane.
        lane: one thread, which all models of a service share so that they do not compete for the cores.
        settings: limits.
        measure: told the rows, requests and seconds of each batch.
    """

    def __init__(
        self, predict: Predict, lane: Executor, settings: Settings, measure: Callable[[int, int, float], None]
    ) -> None:
        self._predict, self._lane, self._settings, self._measure = predict, lane, settings, measure
        self._queue: deque[Job] = deque()
        self._more = asyncio.Event()
        self._row_seconds = 0.01  # moving average, for Retry-After
        self.waiting = 0  # rows in the queue

    async def submit(self, texts: Sequence[Any], pairs: Sequence[str] | None) -> Any:
        """Return the predictions of a request's rows.

        Raises:
            Refusal: 429 while the queue is full; 503 if there is no answer in time.
            HarnessError: the model cannot take these rows.
        """
        rows, settings = len(texts), self._settings
        if self.waiting + rows > settings.max_queue:
            seconds = max(1, math.ceil(self.waiting * self._row_seconds))
            raise Refusal(429, "The service is busy: ask again later.", headers={"Retry-After": str(seconds)})
        job = Job(texts, pairs, asyncio.get_running_loop().create_future(), time.monotonic())
        self._queue.append(job)
        self.waiting += rows
        self._more.set()
        try:
            return await asyncio.wait_for(job.result, settings.timeout)
        except TimeoutError:
            message = f"There was no answer within {settings.timeout:g} seconds: send fewer rows, or ask later."
            raise Refusal(503, message, headers={"Retry-After": "5"}) from None

    async def run(self) -> None:
        """Compute batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._collect()
            if not batch:
                continue
            began = time.monotonic()
            results = await loop.run_in_executor(self._lane, self._answer, batch)
            seconds, rows = time.monotonic() - began, sum(len(job.texts) for job in batch)
            self._row_seconds = 0.9 * self._row_seconds + 0.1 * seconds / rows
            self._measure(rows, len(batch), seconds)
            for job, result in zip(batch, results, strict=True):
                if job.result.done():  # its time was up
                    continue
                if isinstance(result, Exception):
                    job.result.set_exception(result)
                else:
                    job.result.set_result(result)

    async def _collect(self) -> list[Job]:
        while not self._queue:
            self._more.clear()
            await self._more.wait()
        until = self._queue[0].since + self._settings.max_wait_ms / 1000
        while self.waiting < self._settings.max_batch and (left := until - time.monotonic()) > 0:
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), left)
            except TimeoutError:
                break
        batch: list[Job] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].texts) <= self._settings.max_batch):
            job = self._queue.popleft()
            self.waiting -= len(job.texts)
            if not job.result.done():
                batch.append(job)
                rows += len(job.texts)
        return batch

    def _answer(self, jobs: Sequence[Job]) -> list[Any]:
        """Return the predictions of each job, or the exception that its rows alone raise."""
        texts = [text for job in jobs for text in job.texts]
        pairs = [pair for job in jobs for pair in job.pairs] if jobs[0].pairs is not None else None  # type: ignore[union-attr] # all jobs of a model have pairs, or none
        try:
            found = self._predict(texts, pairs)
        except Exception as error:  # noqa: BLE001 # whatever it is, only the request that causes it is told
            if len(jobs) == 1:
                return [error]
            return [self._answer([job])[0] for job in jobs]
        ends = [0]
        for job in jobs:
            ends.append(ends[-1] + len(job.texts))
        return [found[start:end] for start, end in pairwise(ends)]
