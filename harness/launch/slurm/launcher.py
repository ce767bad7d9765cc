"""Execution of run batches as Slurm job arrays.

Slurm provides queue, lease and retry policy. The launcher writes each submission to disk before it submits it, and
learns from markers on the shared file system which runs ended. It queries Slurm only for what the markers do not
tell: at most once in `slurm.poll_s` seconds for all jobs together. If a coordinator dies, its jobs go on, and the next
coordinator recovers them from disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from harness.config.schema import LaunchConfig, SlurmConfig
from harness.launch.base import Attribution, Job, Launcher, Outcome
from harness.launch.run_batching import max_fused, runs_per_job
from harness.launch.slurm import failure_causes
from harness.launch.slurm.array_task import UNSENT, ArrayTask
from harness.launch.slurm.commands import JobState, NoAnswer, Refused, SlurmCommands
from harness.launch.slurm.job_states import ALIVE, PASSING, SlurmState
from harness.launch.slurm.node_health import Nodes
from harness.launch.slurm.resources import merge
from harness.launch.slurm.submissions import Jobs, SubmissionState, belongs, revoke
from harness.launch.slurm.submitter import Submitter
from harness.records.files import now, write_json
from harness.records.run_spec import RunBatch, RunSpec
from harness.records.signature import digest

LOOK_SECONDS = 0.5  # interval between listings of the markers
SETTLE_SECONDS = 3.0  # how long a shared file system may take to show a job's last writes


class SlurmLauncher(Launcher):
    """Executes run batches as job arrays.

    Args:
        launch, slurm: the configuration.
        study: the study's directory, on a file system that all nodes share.
        code: code snapshot that the jobs run.
        say: called with messages to the user, e.g. a node that is avoided, or a controller that does not answer.
    """

    def __init__(
        self, launch: LaunchConfig, slurm: SlurmConfig, study: Path, code: Path, say: Callable[[str], None]
    ) -> None:
        self.capacity, self.runs_per_job, self.places = slurm.max_queued, runs_per_job(launch), slurm.max_requeues
        self.fuses = max_fused(launch) > 1
        self._slurm, self._say = slurm, say
        self.cluster = SlurmCommands(slurm.poll_s)
        self.jobs = Jobs(study.resolve())
        self.jobs.make()
        self.nodes = Nodes(self.jobs.nodes, slurm.bad_node_failures)
        self._live: list[ArrayTask] = []  # submissions on disk, submitted or not, that have not ended
        self._withdrawing = False
        self._told: set[str] = set()
        self._silent_since: float | None = None
        self._queue: Mapping[str, JobState] = {}  # as last reported
        # Slurm commands run in a background thread, one at a time, so that they do not block the coordinator.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="slurm")
        self._submitter = Submitter(
            launch, slurm, code, self.jobs, self.cluster, self.nodes, self._beside, self._no_answer, self._tell
        )
        # A pending query with the callback for its answer, and outcomes to be decided with the time at which to do it.
        self._question: tuple[Future[dict[str, JobState]], Callable[[dict[str, JobState]], None]] | None = None
        self._pending_outcomes: tuple[float, Callable[[], list[Outcome]]] | None = None
        self._cancelling: list[tuple[Future[None], list[str], bool]] = []

    def group(self, spec: RunSpec) -> str:
        """Return a key of the resources: runs share a job, and jobs an array, only if they request the same."""
        return digest(merge(self._slurm, spec.config))

    def submit(self, batch: RunBatch) -> Job:
        """Queue the batch; the next `wait` submits the queued batches with equal resources as one array."""
        job = ArrayTask(batch, UNSENT, 0, set(range(len(batch.runs))))
        self._submitter.add(job)
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes since the last call, waiting up to `seconds` for one."""
        deadline = time.monotonic() + seconds
        while True:
            written = self._submitter.step(alone=not any(state.state in ALIVE for state in self._queue.values()))
            self._live = [job for job in self._live if job.submission is not UNSENT and job not in written] + written
            outcomes = self._look() + self._ask()
            if self._withdrawing:
                outcomes += [self._end(job, None) for job in self._submitter.withdraw()]
            self._close_finished()
            left = deadline - time.monotonic()
            if outcomes or left <= 0:
                return outcomes
            time.sleep(min(LOOK_SECONDS, left))

    def close(self) -> None:
        """Release the launcher; the jobs go on."""
        self._beside.shutdown(wait=False, cancel_futures=True)
        with suppress(OSError):  # a full disk ends a study; an error here must not hide the cause
            self._note()

    def recover(self) -> list[Job]:
        """Take over the jobs that an earlier coordinator submitted or was about to submit."""
        for submission in self.jobs.open():
            try:
                batches = self.jobs.batches(submission.token)
            except (OSError, ValueError, TypeError):
                self._say(f"The submission {submission.token} cannot be read; its jobs are cancelled.")
                if submission.job_id is not None:
                    self._cancel([submission.job_id])
                self.jobs.close(submission)
                continue
            found = []
            for task, batch in enumerate(batches):
                # Runs that an earlier coordinator gave to another job, or withdrew, no longer belong to this task.
                left = {n for n, run in enumerate(batch.runs) if submission.token in belongs(run.paths.directory)}
                found.append(ArrayTask(batch, submission, task, left))
            if submission.state == SubmissionState.INTENDED:
                self._submitter.take_over(found)
            self._live += found
        return [job for job in self._live if job.left]

    def withdraw(self, everything: bool = False) -> None:
        """Cancel all pending jobs, or all jobs."""
        self._withdrawing = True
        ids = [job.submission.job_id for job in self._live if job.submission.job_id is not None and job.left]
        self.cluster.interval = min(self.cluster.interval, 2.0)  # few queries remain, and a person waits for them
        for job in self._live:
            job.withdrawn = True
        if everything:  # synchronously, because the coordinator exits after this
            with suppress(NoAnswer, Refused):
                self.cluster.cancel(ids)
        else:
            self._cancel(ids, pending_only=True)

    def forget(self, job: Job) -> None:
        """Cancel a job whose runs are no longer needed."""
        assert isinstance(job, ArrayTask)
        job.left.clear()
        if job.id is not None:
            self._cancel([job.id])

    # -- outcomes

    def _look(self) -> list[Outcome]:
        """Read the markers."""
        by_token: dict[tuple[str, int], ArrayTask] = {(job.submission.token, job.task): job for job in self._live}
        ended: dict[ArrayTask, set[int]] = {}
        broken: list[tuple[ArrayTask, str, Path]] = []
        for marker, path in sorted(self.jobs.markers().items(), key=lambda item: (item[0].number, item[0].what)):
            job = by_token.get((marker.token, marker.task))
            if job is None or not job.left:
                continue
            if marker.what == "run" and marker.number in job.left:
                ended.setdefault(job, set()).add(marker.number)
            elif marker.what in ("error", "stopped"):
                broken.append((job, marker.what, path))
        outcomes = []
        for job, numbers in ended.items():
            if job.left != numbers and _pauses_together(job.batch):
                continue
            job.left -= numbers
            runs = tuple(job.batch.runs[number] for number in sorted(numbers))
            self._worked(job, runs[-1])
            outcomes.append(Outcome(job, None, runs))
        for job, what, path in broken:
            if not job.left:
                continue
            text = _read(path)
            path.unlink(missing_ok=True)
            lost = f"Its job failed: {text}" if what == "error" else None
            outcomes.append(self._end(job, lost or "Its job ended at a checkpoint.", "run" if lost else "place"))
        return outcomes

    def _end(self, job: ArrayTask, lost: str | None, attributed_to: Attribution = "run") -> Outcome:
        runs, job.left = job.runs, set()
        begun = frozenset(run.directory for run in runs if job.has_begun(run))
        for run in runs:
            revoke(run.paths.directory, job.submission.token)
        return Outcome(job, lost, runs, attributed_to, begun)

    def _ask(self) -> list[Outcome]:
        """Query Slurm if a query is allowed and useful; return the outcomes derived from its last answer.

        The query runs in the background, so that a controller that does not answer blocks nothing.
        """
        if self._pending_outcomes is not None and time.monotonic() >= self._pending_outcomes[0]:
            (_, find_outcomes), self._pending_outcomes = self._pending_outcomes, None
            return find_outcomes()
        if self._question is not None:
            if self._question[0].done():
                (answer, hear), self._question = self._question, None
                try:
                    heard = answer.result()
                except (NoAnswer, Refused, OSError) as error:
                    self._silent(str(error))
                else:
                    hear(heard)
            return []
        live = [job for job in self._live if job.left]
        if not (live or self._submitter.busy) or self._pending_outcomes is not None or self.cluster.due() > 0:
            return []
        if gone := [job for job in live if job.gone]:
            # The queue no longer lists these jobs, so query accounting, once for all of them.
            ids = [job.submission.job_id for job in gone if job.submission.job_id]
            self._question = (
                self._beside.submit(self.cluster.history, ids),
                lambda known: self._apply_history(gone, known),
            )
        else:
            self._question = self._beside.submit(self.cluster.queue), lambda queue: self._apply_queue(live, queue)
        return []

    def _apply_history(self, gone: Sequence[ArrayTask], known: Mapping[str, JobState]) -> None:
        self._pending_outcomes = 0.0, lambda: [self._lost(job, known.get(job.id or "")) for job in gone if job.left]

    def _apply_queue(self, live: Sequence[ArrayTask], queue: Mapping[str, JobState]) -> None:
        if self._silent_since is not None:
            self._say(f"Slurm answers again, after {time.monotonic() - self._silent_since:.0f} s.")
            self._silent_since = None
        self._queue = queue
        self._submitter.heard(queue)
        self._cancel_again()
        self._note()
        states = {
            job: queue.get(job.id or "")
            for job in live
            if job.submission.state != SubmissionState.INTENDED or job.withdrawn
        }

        def find_outcomes() -> list[Outcome]:
            outcomes = [self._outcome_of(job, state) for job, state in states.items() if job.left]
            return [outcome for outcome in outcomes if outcome is not None]

        # A job's last writes must become visible before its runs count as unfinished.
        wait = any(_has_ended(state) and not job.withdrawn for job, state in states.items())
        self._pending_outcomes = time.monotonic() + (SETTLE_SECONDS if wait else 0.0), find_outcomes

    def _note(self) -> None:
        """Write the last reported job states to disk, for `harness.status`."""
        ids = {job.id for job in self._live if job.left}
        states = {
            key: {"state": state.state, "reason": state.reason, "node": state.node}
            for key, state in self._queue.items()
            if key in ids
        }
        write_json(self.jobs.state, {"asked": now(), "calls": self.cluster.calls, "jobs": states})

    def _outcome_of(self, job: ArrayTask, state: JobState | None) -> Outcome | None:
        """Return the outcome implied by a job's state in the queue, if any."""
        if state is not None and state.state in ALIVE:
            job.seen = 0
            if job.withdrawn and state.state == SlurmState.PENDING and job.id is not None:
                self._cancel([job.id], pending_only=True)  # it was requeued, or the first cancellation was lost
            elif state.state == SlurmState.PENDING:
                return self._check_pending(job, state)
            else:
                job.waits = None
            return None
        if job.withdrawn or all(run.result() for run in job.runs):
            return self._end(job, None)
        job.seen += 1
        if _has_ended(state):
            return self._lost(job, state)
        if job.seen >= 2:  # a job seen only once may be moving to another node, or may not be in the queue yet
            if state is not None:
                return self._lost(job, state)
            job.gone = True
        return None

    def _worked(self, job: ArrayTask, run: RunSpec) -> None:
        """Note that the nodes of a job work: the one that wrote the run's record, and those with which it trained."""
        if not self.nodes.counted:
            return
        nodes, state = {_node(run)}, self._queue.get(job.id or "")
        if state is not None and "nodes" in job.submission.resources:
            with suppress(NoAnswer, Refused):
                nodes |= self.cluster.hostnames(state.node)
        self.nodes.worked(*nodes)

    def _check_pending(self, job: ArrayTask, state: JobState) -> Outcome | None:
        job.waits = job.waits or time.monotonic()
        minutes = (time.monotonic() - job.waits) / 60
        if (cause := failure_causes.of_pending_job(state, minutes, self._slurm.pending_min)) is not None:
            if job.id is not None:
                self._cancel([job.id])
            return self._end(job, f"Its job {job.id} {cause.reason}", cause.attributed_to)
        if "JobHeldUser" in state.reason:
            self._tell(f"Job {job.id} is held by its user: `scontrol release {job.id}` releases it.")
        return None

    def _lost(self, job: ArrayTask, state: JobState | None) -> Outcome:
        """End a job that Slurm ended before its runs were finished."""
        if state is not None and state.state in PASSING and job.id is not None:
            self._cancel([job.id])  # given up here, so Slurm must not start it again
        begun = any(job.has_begun(run) for run in job.runs)
        asked = job.submission.resources
        cause = failure_causes.of_loss(
            state, begun, self._output(job), asked.get("mem_gb"), bool(asked.get("ntasks_per_node"))
        )
        if cause.node and self.nodes.failed(cause.node):
            self._say(
                f"Node {cause.node} ended {self.nodes.limit} jobs in a row before a run began; it is avoided from "
                "now on (slurm.bad_node_failures)."
            )
        return self._end(job, f"Its job {job.id} {cause.reason}", cause.attributed_to)

    def _output(self, job: ArrayTask) -> str:
        """Return the end of what the job's shell and Python printed to stderr."""
        text = ""
        for path in sorted(self.jobs.logs.glob(f"{job.submission.job_id}_{job.task}_*.err")):
            text += _read(path)[-4000:]
        return text

    def _close_finished(self) -> None:
        busy = {job.submission.token for job in self._live if job.left}
        for submission in {job.submission.token: job.submission for job in self._live}.values():
            if submission.token not in busy:
                self.jobs.close(submission)
        self._live = [job for job in self._live if job.submission.token in busy]

    def _cancel(self, ids: list[str], pending_only: bool = False) -> None:
        if ids:
            self._cancelling.append((self._beside.submit(self.cluster.cancel, ids, pending_only), ids, pending_only))

    def _cancel_again(self) -> None:
        """Repeat cancellations that Slurm did not confirm."""
        pending, self._cancelling = self._cancelling, []
        for done, ids, pending_only in pending:
            if not done.done():
                self._cancelling.append((done, ids, pending_only))
            elif done.exception() is not None:
                self._cancel(ids, pending_only)

    def _no_answer(self, said: str) -> None:
        """Handle a submission without an answer: drop the pending query, which was sent before it."""
        self._question = None
        self._silent(said)

    def _silent(self, said: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._say(
                f"Slurm does not answer; running jobs continue, and the request is repeated. Slurm's message: {said}"
            )

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._say(message)


def _has_ended(state: JobState | None) -> bool:
    """Return whether Slurm reports that a job has finally ended."""
    return state is not None and state.state not in ALIVE and state.state not in PASSING


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _pauses_together(batch: RunBatch) -> bool:
    """Return whether the batch's runs reach a rung together; if so, their results are reported together.

    This is so only if all runs are concurrent; otherwise the first would wait for those that start after it.
    """
    return 1 < len(batch.runs) <= batch.together and any(run.until is not None for run in batch.runs)


def _node(run: RunSpec) -> str:
    record = run.result()
    return "" if record is None else str((record.provenance.get("slurm") or {}).get("node") or "")
