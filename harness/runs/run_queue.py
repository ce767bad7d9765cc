"""The runs of a batch, in the form in which the training loop takes them: session after session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator

from harness.records.run_spec import RunBatch, RunSpec
from harness.training.session import TrainingSession

Running = Generator[TrainingSession, None, bool]  # one run: yields its sessions; False if it stops to resume later


class RunQueue:
    """Starts the runs of a batch, as many at a time as it allows, and continues each when its session has ended.

    Args:
        batch: the runs.
        start: makes the generator of a run; None for a run that need not start.
        interrupted: checked before a run starts; True starts no more.
    """

    def __init__(
        self, batch: RunBatch, start: Callable[[RunSpec], Running | None], interrupted: Callable[[], bool]
    ) -> None:
        self._batch, self._start, self._interrupted = batch, start, interrupted
        self._waiting = deque(batch.runs)
        self._running: dict[int, Running] = {}  # by the identity of the session that each run waits for

    def first(self) -> Iterator[TrainingSession]:
        """Start as many runs as the batch allows; no more once one has a backbone of its own, which saves nothing."""
        for _ in range(self._batch.together):
            if (session := self._next_run()) is None:
                return
            yield session
            if not session.shares:
                return

    def following(self, ended: TrainingSession) -> TrainingSession | None:
        """Continue the run of an ended session; return its next session, or that of the next run; None at the end."""
        run = self._running.pop(id(ended))
        del ended  # only its run holds it then, and frees it before the next session is made
        return self._continue(run) or self._next_run()

    def _next_run(self) -> TrainingSession | None:
        """Start runs until one has a session to train."""
        while self._waiting and not self._interrupted():
            run = self._start(self._waiting.popleft())
            if run is not None and (session := self._continue(run)) is not None:
                return session
        return None

    def _continue(self, run: Running) -> TrainingSession | None:
        """Continue a run to its next session; return None if it has ended. After a stop no other run starts."""
        try:
            session = next(run)
        except StopIteration as end:
            if not end.value:
                self._waiting.clear()
            return None
        self._running[id(session)] = run
        return session
