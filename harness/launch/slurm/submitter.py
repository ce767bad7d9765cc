"""Submission of run batches to Slurm as arrays: on disk first, never twice, and in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path

from harness.config.schema import LaunchConfig, SlurmConfig
from harness.launch.slurm.array_task import ArrayTask
from harness.launch.slurm.batch_scripts import job_script
from harness.launch.slurm.commands import Full, JobState, NoAnswer, Refused, SlurmCommands
from harness.launch.slurm.node_health import Nodes
from harness.launch.slurm.resources import merge
from harness.launch.slurm.submissions import Jobs, Submission, SubmissionState
from harness.records.signature import digest

LOOKS = 2  # queue listings without a submission after which it counts as not accepted: a request can be slow


class Submitter:
    """Queue of the submissions that Slurm has not confirmed yet.

    Args:
        launch, slurm: the configuration.
        code: code snapshot that the jobs run.
        jobs: the study's submissions.
        cluster: the cluster's commands.
        nodes: health of the nodes; bad ones are avoided.
        beside: executor for commands that may be slow.
        silent: called with Slurm's message when it did not answer.
        tell: called with messages that the user gets once.
    """

    def __init__(
        self,
        launch: LaunchConfig,
        slurm: SlurmConfig,
        code: Path,
        jobs: Jobs,
        cluster: SlurmCommands,
        nodes: Nodes,
        beside: Executor,
        silent: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        self._launch, self._slurm, self._code, self._tell = launch, slurm, code, tell
        self._jobs, self._cluster, self._nodes, self._beside, self._silent = jobs, cluster, nodes, beside, silent
        self._waiting: list[ArrayTask] = []  # not on disk yet
        self._intended: dict[str, list[ArrayTask]] = {}  # by token: on disk, not confirmed by Slurm
        self._unsure: dict[str, int] = {}  # by token: queue listings without a submission that Slurm may have accepted
        self._sending: tuple[Future[str], Submission] | None = None
        self._size: int | None = None  # largest array
        self._not_before = 0.0
        self._refused = 0  # consecutive times that Slurm had no room for one job although the user had no other
        self._open = True  # False once the study stops

    @property
    def busy(self) -> bool:
        """Return whether something is still to be submitted."""
        return bool(self._waiting or self._intended)

    def add(self, job: ArrayTask) -> None:
        """Add a job; jobs with equal resources that are added before the next `step` form one array."""
        self._waiting.append(job)

    def take_over(self, jobs: list[ArrayTask]) -> None:
        """Take over a submission of an earlier coordinator that may or may not have been accepted by Slurm."""
        token = jobs[0].submission.token
        self._intended[token] = jobs
        self._unsure[token] = 0

    def withdraw(self) -> list[ArrayTask]:
        """Stop submitting; return the jobs that have no submission on disk."""
        self._open = False
        waiting, self._waiting = self._waiting, []
        sending = self._sending[1].token if self._sending is not None else None
        self._intended = {token: jobs for token, jobs in self._intended.items() if token == sending}
        self._unsure = {}
        return waiting

    def step(self, alone: bool) -> list[ArrayTask]:
        """Do what can be done without waiting; return the jobs whose submission was written to disk.

        Args:
            alone: whether the user has no pending or running job, so that waiting would not free a slot.

        Raises:
            Refused: Slurm refused the submission.
        """
        if self._sending is not None and self._sending[0].done():
            (answer, submission), self._sending = self._sending, None
            self._collect(answer, submission, alone)
        if not self._open:
            return []
        written = self._write_submissions() if time.monotonic() >= self._not_before else []
        ready = (token for token in self._intended if token not in self._unsure)
        if self._sending is None and (token := next(ready, None)) is not None:
            submission = self._intended[token][0].submission
            self._sending = self._beside.submit(self._send, submission), submission
        return written

    def _send(self, submission: Submission) -> str:
        """Submit, in the background thread; return the job's id."""
        resources = submission.resources
        wanted = resources.get("nodelist"), resources.get("exclude"), resources.get("nodes", 1)
        nodelist, exclude = self._cluster.only(*wanted)
        text = job_script(self._jobs, submission, self._slurm.python, self._nodes.excluded(exclude), nodelist)
        return self._cluster.submit(text)

    def heard(self, queue: Mapping[str, JobState]) -> None:
        """Confirm submissions that the queue lists; submit missing ones again, with a new token."""
        ids = {state.name: key.split("_")[0] for key, state in queue.items()}
        for token in list(self._unsure):
            submission = self._intended[token][0].submission
            if submission.name in ids:
                del self._unsure[token]
                self._taken(submission, ids[submission.name])
                continue
            self._unsure[token] += 1
            if self._unsure[token] >= LOOKS:
                del self._unsure[token]
                self._take_back(submission)  # should it start after all, its token is stale

    def _write_submissions(self) -> list[ArrayTask]:
        if not self._waiting:
            return []
        if self._size is None:
            try:
                self._size = self._cluster.max_array()
            except NoAnswer as error:
                self._silent(str(error))
                self._not_before = time.monotonic() + self._cluster.interval
                return []
        groups: dict[str, list[ArrayTask]] = {}
        for job in self._waiting:
            groups.setdefault(digest(merge(self._slurm, job.batch.runs[0].config)), []).append(job)
        written, self._waiting = self._waiting, []
        for group in groups.values():
            for start in range(0, len(group), self._size):
                self._intend(group[start : start + self._size])
        return written

    def _intend(self, jobs: list[ArrayTask]) -> None:
        resources = merge(self._slurm, jobs[0].batch.runs[0].config)
        threads = self._launch.threads or int(resources["cpus_per_task"])
        batches = [job.batch for job in jobs]
        submission = self._jobs.intend(batches, resources, self._code, threads, self._slurm.max_requeues)
        for task, job in enumerate(jobs):
            job.submission, job.task = submission, task
        self._intended[submission.token] = jobs

    def _collect(self, answer: Future[str], submission: Submission, alone: bool) -> None:
        try:
            job_id = answer.result()
        except Full as error:
            count = len(self._intended.get(submission.token, ()))
            self._take_back(submission)
            self._refused = self._refused + 1 if alone and count <= 1 else 0
            if self._refused > LOOKS:
                raise Refused(f"Slurm accepts no job at all: {error}") from error
            self._tell(
                "Slurm accepts no more jobs for now; the rest is submitted in smaller arrays later. Slurm's message: "
                f"{error}"
            )
            self._size = max(1, count // 2)
            self._not_before = time.monotonic() + self._cluster.interval
        except NoAnswer as error:
            self._unsure[submission.token] = 0
            self._silent(str(error))
        except Refused as error:
            self._jobs.close(submission)
            if avoided := self._nodes.excluded(None):
                raise Refused(
                    f"{error} Nodes {avoided} are avoided, since jobs ended there before a run began "
                    f"({self._jobs.logs} says why). When that is corrected, remove {self._nodes.path} and run the same "
                    "command again."
                ) from error
            raise
        else:
            self._taken(submission, job_id)

    def _taken(self, submission: Submission, job_id: str) -> None:
        self._refused = 0
        submission.job_id, submission.state = job_id, SubmissionState.SUBMITTED
        self._jobs.write(submission)
        self._intended.pop(submission.token, None)

    def _take_back(self, submission: Submission) -> None:
        self._jobs.close(submission)
        for job in self._intended.pop(submission.token, []):
            if job.left:  # all its runs may have ended by now
                job.take_back()
                self._waiting.append(job)
