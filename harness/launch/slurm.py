"""Packs as Slurm job arrays.

Slurm is the queue, the lease and the retry policy. This launcher writes down what it submits before it does, learns
from markers on the shared file system what ended, and asks Slurm itself only about what the markers do not tell: at
most once in `slurm.poll_s` seconds, however many jobs there are. A coordinator that dies leaves its jobs running; the
next one finds them here.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import LaunchConfig, SlurmConfig
from harness.errors import Problems
from harness.launch.base import Job, Launcher, Outcome
from harness.launch.cluster import ALIVE, PASSING, Cluster, JobState, NoAnswer, NoCluster, Refused, script
from harness.launch.nodes import Nodes
from harness.launch.resources import describe, merge
from harness.launch.submissions import Jobs, Submission, belongs, revoke
from harness.record import CorruptRecord, Pack, Record, RunSpec, digest, now, write_json

LOOK_SECONDS = 0.5  # how often the markers are listed
SETTLE_SECONDS = 3.0  # how long a shared file system may take to show what a job wrote last
# Why a job waits although waiting changes nothing: what it asks for cannot be had, or it failed to start somewhere.
IMPOSSIBLE = re.compile(
    r"BadConstraints|PartitionConfig|DependencyNeverSatisfied|InvalidAccount|InvalidQOS",
    re.IGNORECASE,
)
HELD = re.compile(r"launch.?failed|JobHeldAdmin|requeued.?held", re.IGNORECASE)
MEMORY = re.compile(r"oom.?kill|out.of.memory|exceeded .*memory limit|memory limit .*exceed", re.IGNORECASE)


@dataclass(eq=False)
class SlurmJob(Job):
    """One task of an array.

    Attributes:
        submission, task: which.
        left: numbers of the runs in the pack that have not ended yet.
        seen: how often Slurm said in a row that it is gone, or in a state that passes.
        gone: whether the queue has forgotten it.
        waits: since when it has been seen waiting.
        withdrawn: whether it is being cancelled because the study stops.
    """

    submission: Submission
    task: int
    left: set[int] = field(default_factory=set)
    seen: int = 0
    gone: bool = False
    waits: float | None = None
    withdrawn: bool = False

    @property
    def id(self) -> str | None:
        """Slurm's id of the task."""
        return None if self.submission.job_id is None else f"{self.submission.job_id}_{self.task}"

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """The runs that have not ended yet."""
        return tuple(self.pack.runs[number] for number in sorted(self.left))


class SlurmLauncher(Launcher):
    """Job arrays.

    Args:
        launch, slurm: the configuration.
        study: the study's directory, on a file system that all nodes share.
        code: the snapshot that jobs run.
        say: takes what the user should know: a node that is avoided, a controller that does not answer.
    """

    def __init__(
        self, launch: LaunchConfig, slurm: SlurmConfig, study: Path, code: Path, say: Callable[[str], None]
    ) -> None:
        self.capacity, self.runs_per_job, self.places = slurm.max_queued, launch.runs_per_job, slurm.max_requeues
        self._launch, self._slurm, self._code, self._say = launch, slurm, code, say
        self.cluster = Cluster(slurm.poll_s)
        self.jobs = Jobs(study.resolve())
        self.jobs.make()
        self.nodes = Nodes(self.jobs.directory / "nodes.json", slurm.bad_node_failures)
        self._buffer: list[tuple[Pack, SlurmJob]] = []
        self._live: list[SlurmJob] = []
        self._max_array: int | None = None
        # Submissions of which it is not known whether Slurm took them, and in how many looks it did not show them.
        self._unsure: dict[str, int] = {}
        self._told: set[str] = set()
        self._silent_since: float | None = None
        # A question to Slurm under way with who hears the answer, and verdicts with the time at which they are given.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="slurm")
        self._question: tuple[Future[dict[str, JobState]], Callable[[dict[str, JobState]], None]] | None = None
        self._verdicts: tuple[float, Callable[[], list[Outcome]]] | None = None

    def group(self, spec: RunSpec) -> str:
        """Runs share a job, and jobs an array, if they get the same resources."""
        return digest(merge(self._slurm, spec.config))

    def submit(self, pack: Pack) -> Job:
        """Queue the pack; packs of one moment become one array at the next `wait`."""
        placeholder = Submission("", "", "", {}, "", 1, 0, [])
        job = SlurmJob(pack, placeholder, 0, set(range(len(pack.runs))))
        self._buffer.append((pack, job))
        return job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended since the last call, waiting up to `seconds` for something."""
        deadline = time.monotonic() + seconds
        while True:
            self._flush()
            outcomes = self._look() + self._ask()
            self._close_finished()
            left = deadline - time.monotonic()
            if outcomes or left <= 0:
                return outcomes
            time.sleep(min(LOOK_SECONDS, left))

    def close(self) -> None:
        """Leave the jobs as they are."""
        self._beside.shutdown(wait=False, cancel_futures=True)
        with suppress(OSError):  # a full disk ends a study; this must not hide why
            self._note({})

    def recover(self) -> list[Job]:
        """Take over the jobs that an earlier coordinator submitted, or was about to."""
        for submission in self.jobs.open():
            try:
                packs = self.jobs.packs(submission.token)
            except (OSError, ValueError, TypeError):
                self._say(f"The submission {submission.token} cannot be read; its jobs are cancelled.")
                if submission.job_id is not None:
                    self.cluster.cancel([submission.job_id])
                self.jobs.close(submission)
                continue
            if submission.state == "intended":
                self._unsure[submission.token] = 0
            for task, pack in enumerate(packs):
                # What an earlier coordinator has given to another job, or taken back, is not this one's any more.
                left = {n for n, run in enumerate(pack.runs) if submission.token in belongs(run.paths.directory)}
                self._live.append(SlurmJob(pack, submission, task, left))
        return [job for job in self._live if job.left]

    def withdraw(self, everything: bool = False) -> None:
        """Cancel what waits in the queue, or everything."""
        self._buffer, buffered = [], self._buffer
        for _, job in buffered:
            job.withdrawn = True
            self._live.append(job)
        ids = [job.submission.job_id for job in self._live if job.submission.job_id is not None and job.left]
        self.cluster.cancel(dict.fromkeys(ids), pending_only=not everything)
        self.cluster.interval = min(self.cluster.interval, 2.0)  # few questions are left to ask, and somebody waits
        for job in self._live:
            job.withdrawn = True

    def forget(self, job: Job) -> None:
        """Cancel a job whose runs nobody needs."""
        assert isinstance(job, SlurmJob)
        job.left.clear()
        if job.id is not None:
            self.cluster.cancel([job.id])

    # -- submission

    def _flush(self) -> None:
        if self._buffer:
            groups: dict[str, list[SlurmJob]] = {}
            for pack, job in self._buffer:
                groups.setdefault(self.group(pack.runs[0]), []).append(job)
            self._buffer = []
            size = self._array_size()
            for jobs in groups.values():
                for start in range(0, len(jobs), size):
                    self._intend(jobs[start : start + size])
        for submission in self._submissions("intended"):
            if submission.token not in self._unsure and not self._sbatch(submission):
                return

    def _array_size(self) -> int:
        if self._max_array is None:
            self._max_array = self.cluster.max_array()
        return self._max_array

    def _intend(self, jobs: Sequence[SlurmJob]) -> None:
        resources = merge(self._slurm, jobs[0].pack.runs[0].config)
        threads = self._launch.threads or int(resources["cpus_per_task"])
        submission = self.jobs.intend(
            [job.pack for job in jobs], resources, self._code, threads, self._slurm.max_requeues
        )
        for task, job in enumerate(jobs):
            job.submission, job.task = submission, task
            self._live.append(job)

    def _submissions(self, state: str) -> list[Submission]:
        found = {job.submission.token: job.submission for job in self._live if job.left and not job.withdrawn}
        return [submission for submission in found.values() if submission.state == state]

    def _sbatch(self, submission: Submission) -> bool:
        """Hand a submission to Slurm; False if Slurm did not answer: looks at its queue then tell if it took it."""
        text = job_script(
            self.jobs, submission, self._slurm.python, self.nodes.excluded(submission.resources.get("exclude"))
        )
        try:
            submission.job_id = self.cluster.submit(text, self._slurm.environment)
        except NoAnswer as error:
            self._silent(str(error))
            self._unsure[submission.token] = 0
            self._question = None  # asked before, so its answer says nothing about this
            return False
        except Refused as error:
            self.jobs.close(submission)
            if avoided := self.nodes.excluded(None):
                raise Refused(
                    f"{error} Nodes {avoided} are avoided, since jobs ended there before a run began ({self.jobs.logs} "
                    f"says why). When that is mended, remove {self.nodes.path} and run the same command again."
                ) from error
            raise
        submission.state = "submitted"
        self.jobs.write(submission)
        return True

    # -- what ended

    def _look(self) -> list[Outcome]:
        """Read the markers."""
        by_token: dict[tuple[str, int], SlurmJob] = {(job.submission.token, job.task): job for job in self._live}
        ended: dict[SlurmJob, list[int]] = {}
        outcomes = []
        markers = self.jobs.markers()
        for marker, path in sorted(markers.items(), key=lambda item: (item[0].number, item[0].what)):
            job = by_token.get((marker.token, marker.task))
            if job is None or not job.left:
                continue
            if marker.what == "run" and marker.number in job.left:
                job.left.discard(marker.number)
                ended.setdefault(job, []).append(marker.number)
            elif marker.what in ("error", "stopped"):
                text = _read(path)
                path.unlink(missing_ok=True)
                lost = f"Its job could not go on: {text}" if marker.what == "error" else None
                outcomes.append(self._end(job, lost or "Its job ended at a checkpoint.", "run" if lost else "place"))
        for job, numbers in ended.items():
            runs = tuple(job.pack.runs[number] for number in numbers)
            self.nodes.worked(_node(runs[-1]))
            outcomes.append(Outcome(job, None, runs))
        return outcomes

    def _end(self, job: SlurmJob, lost: str | None, blame: str = "run") -> Outcome:
        runs, job.left = job.runs, set()
        begun = frozenset(run.directory for run in runs if _has_begun(job, run))
        for run in runs:
            revoke(run.paths.directory, job.submission.token)
        return Outcome(job, lost, runs, blame, begun)

    def _ask(self) -> list[Outcome]:
        """Ask Slurm, if it may be asked again and there is something that it could tell; judge what it has answered.

        It is asked beside: a controller that does not answer holds nothing up.
        """
        if self._verdicts is not None and time.monotonic() >= self._verdicts[0]:
            (_, judge), self._verdicts = self._verdicts, None
            return judge()
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
        if not live or self._verdicts is not None or self.cluster.due() > 0:
            return []
        if gone := [job for job in live if job.gone]:
            # Only accounting remembers them; one question for all of them.
            ids = [job.submission.job_id for job in gone if job.submission.job_id]
            self._question = (
                self._beside.submit(self.cluster.history, ids),
                lambda known: self._hear_history(gone, known),
            )
        else:
            self._question = self._beside.submit(self.cluster.queue), lambda queue: self._hear_queue(live, queue)
        return []

    def _hear_history(self, gone: Sequence[SlurmJob], known: Mapping[str, JobState]) -> None:
        self._verdicts = 0.0, lambda: [self._lost(job, known.get(job.id or "")) for job in gone if job.left]

    def _hear_queue(self, live: Sequence[SlurmJob], queue: Mapping[str, JobState]) -> None:
        if self._silent_since is not None:
            self._say(f"Slurm answers again, after {time.monotonic() - self._silent_since:.0f} s.")
            self._silent_since = None
        self._adopt(queue)
        self._note(queue)
        states = {job: queue.get(job.id or "") for job in live if job.submission.state != "intended" or job.withdrawn}

        def judge() -> list[Outcome]:
            judged = [self._judge(job, state) for job, state in states.items() if job.left]
            return [outcome for outcome in judged if outcome is not None]

        # What a job wrote last must arrive before its runs are called unfinished.
        wait = any(_has_ended(state) and not job.withdrawn for job, state in states.items())
        self._verdicts = time.monotonic() + (SETTLE_SECONDS if wait else 0.0), judge

    def _note(self, queue: Mapping[str, JobState]) -> None:
        """Write down what Slurm said, for `harness.status`."""
        ids = {job.id for job in self._live if job.left}
        states = {
            key: {"state": state.state, "reason": state.reason, "node": state.node}
            for key, state in queue.items()
            if key in ids
        }
        write_json(self.jobs.state, {"asked": now(), "calls": self.cluster.calls, "jobs": states})

    def _adopt(self, queue: Mapping[str, JobState]) -> None:
        """Find submissions whose answer was never heard; what Slurm did not take is submitted again."""
        names = {state.name: key.split("_")[0] for key, state in queue.items()}
        for submission in self._submissions("intended"):
            if submission.name in names:
                submission.job_id, submission.state = names[submission.name], "submitted"
                self.jobs.write(submission)
                self._unsure.pop(submission.token, None)
            elif submission.token in self._unsure:
                self._unsure[submission.token] += 1
                if self._unsure[submission.token] >= 2:  # a request that was slow may still have been on its way once
                    del self._unsure[submission.token]

    def _judge(self, job: SlurmJob, state: JobState | None) -> Outcome | None:
        """What one job's state in the queue means."""
        if state is not None and state.state in ALIVE:
            job.seen = 0
            if job.withdrawn and state.state == "PENDING" and job.id is not None:
                self.cluster.cancel([job.id], pending_only=True)  # requeued, or not heard when it was withdrawn
            elif state.state == "PENDING":
                return self._judge_waiting(job, state)
            else:
                job.waits = None
            return None
        if job.withdrawn or all(_is_finished(run) for run in job.runs):
            return self._end(job, None)
        job.seen += 1
        if _has_ended(state):
            return self._lost(job, state)
        if job.seen >= 2:  # seen once, it may be on its way to another node, or not in the queue yet
            if state is not None:
                return self._lost(job, state)
            job.gone = True
        return None

    def _judge_waiting(self, job: SlurmJob, state: JobState) -> Outcome | None:
        clock = time.monotonic()
        job.waits = job.waits or clock
        waited = (clock - job.waits) / 60
        limit = self._slurm.pending_min
        impossible, held = IMPOSSIBLE.search(state.reason), HELD.search(state.reason)
        if impossible or held:
            reason = f"Its job {job.id} would have waited for ever ({state.reason}) and was cancelled."
        elif limit is not None and waited >= limit:
            reason = f"Its job {job.id} waited {waited:.1f} min ({state.reason}; slurm.pending_min={limit:g})."
        else:
            if "JobHeldUser" in state.reason:
                self._tell(f"Job {job.id} is held by its user: `scontrol release {job.id}` lets it go on.")
            return None
        if job.id is not None:
            self.cluster.cancel([job.id])
        return self._end(job, reason, "place" if held else "run")

    def _lost(self, job: SlurmJob, state: JobState | None) -> Outcome:
        """Say why a job ended without finishing its runs, and what that says about them."""
        if state is None:
            return self._end(job, f"Slurm no longer knows its job {job.id}.", "place")
        if state.state in PASSING and job.id is not None:
            self.cluster.cancel([job.id])  # given up here, it must not come back
        where = f" on {state.node}" if state.node else ""
        reason = f"Slurm ended its job {job.id}{where}: {state.state}"
        if state.reason not in ("None", ""):
            reason += f" ({state.reason})"
        if state.state == "OUT_OF_MEMORY" or MEMORY.search(self._output(job)):
            mem = job.submission.resources.get("mem_gb")
            return self._end(job, f"{reason}. Memory ran out (slurm.mem_gb={mem}).", "memory")
        if state.state in ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "CANCELLED", "REVOKED", "REQUEUE_HOLD"):
            return self._end(job, f"{reason}.", "place")
        if not any(_has_begun(job, run) for run in job.runs):
            # It never came as far as a run, so the node or the set-up commands are at fault.
            if self.nodes.failed(state.node):
                self._say(
                    f"Node {state.node} ended {self.nodes.limit} jobs in a row before a run began; it is avoided from "
                    "now on (slurm.bad_node_failures)."
                )
            output = [line for line in self._output(job).splitlines() if line and not line.startswith("srun: ")]
            last = f" Its last words: {output[-1][:300]}" if output else ""
            return self._end(job, f"{reason}, before a run began.{last}", "place")
        return self._end(job, f"{reason}.")

    def _output(self, job: SlurmJob) -> str:
        """The end of what a job's shell and Python printed to stderr."""
        text = ""
        for path in sorted(self.jobs.logs.glob(f"{job.submission.job_id}_{job.task}_*.err")):
            text += _read(path)[-4000:]
        return text

    def _close_finished(self) -> None:
        done: dict[str, list[SlurmJob]] = {}
        for job in self._live:
            done.setdefault(job.submission.token, []).append(job)
        for token, jobs in done.items():
            if token and not any(job.left for job in jobs):
                self.jobs.close(jobs[0].submission)
        closed = {token for token, jobs in done.items() if not any(job.left for job in jobs)}
        self._live = [job for job in self._live if job.submission.token not in closed]

    def _silent(self, said: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._say(
                "Slurm does not answer or takes no more jobs for now; what runs goes on, and Slurm is asked again. It "
                f"said: {said}"
            )

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._say(message)


def job_script(
    jobs: Jobs, submission: Submission, python: str | None, exclude: str | None, folder: Path | None = None
) -> str:
    """The batch script of a submission; its output goes to `folder`, by default the study's."""
    prologue = [
        "export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1",
        f"export OMP_NUM_THREADS={submission.threads}",
        f"export PYTHONPATH={shlex.quote(submission.code)}",
    ]
    parameters = {
        **submission.resources,
        "name": submission.name,
        "setup": [*prologue, "set -e", *submission.resources.get("setup", [])],
        "exclude": exclude,
        "additional_parameters": {"requeue": True, **submission.resources.get("additional_parameters", {})},
    }
    command = " ".join(
        [python or shlex.quote(sys.executable), "-P", "-m", "harness.launch.job", shlex.quote(str(jobs.study)),
         submission.token]
    )  # fmt: skip
    return script(folder or jobs.logs, parameters, command, len(submission.packs))


def _has_ended(state: JobState | None) -> bool:
    """Whether Slurm says that a job is over for good."""
    return state is not None and state.state not in ALIVE and state.state not in PASSING


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _record(run: RunSpec) -> Record | None:
    with suppress(CorruptRecord, OSError):
        record = Record.read(run.paths.record)
        if record is not None and record.signature == run.signature:
            return record
    return None


def _is_finished(run: RunSpec) -> bool:
    record = _record(run)
    return record is not None and record.status in ("ok", "failed", "pruned")


def _has_begun(job: SlurmJob, run: RunSpec) -> bool:
    """Whether this very job has claimed a run."""
    return belongs(run.paths.directory).get(job.submission.token, -1) >= 0


def _node(run: RunSpec) -> str:
    record = _record(run)
    return str((record.provenance.get("slurm") or {}).get("node") or "") if record is not None else ""


def check(slurm: SlurmConfig, study: Path, configs: Sequence[Mapping[str, Any]], problems: Problems) -> None:
    """Let Slurm itself judge what the cells' jobs would ask for, before anything is submitted.

    Args:
        slurm: the profile.
        study: the study's directory; need not exist.
        configs: the cells' resolved configurations.
        problems: takes Slurm's words.
    """
    seen: set[str] = set()
    for config in configs:
        resources = merge(slurm, config, problems)
        if (key := digest(resources)) in seen:
            continue
        seen.add(key)
        jobs = Jobs(study.resolve())
        submission = Submission("test", "harness-test", now(), resources, ".", 1, 0, [[]])
        try:
            Cluster(slurm.poll_s).test(job_script(jobs, submission, slurm.python, resources["exclude"], folder=Path()))
        except NoCluster as error:
            problems.extend(error)
            return
        except Refused as error:
            for said in error.problems:
                problems.add(
                    f"{said}. Asked for was: {describe(resources)}. `sinfo` and `sacctmgr show associations "
                    "user=$USER` say what there is; change the profile in slurm/, or a key of it: slurm.<key>=<value>."
                )
        except NoAnswer as error:
            problems.add(f"Slurm does not answer ({error}). Try again when `sinfo` does.")


def cancel_study(study: Path) -> int:
    """Stop the jobs of a study that no coordinator watches: what runs checkpoints, what waits is cancelled.

    Returns:
        The number of jobs that were under way.
    """
    from harness.launch.detach import cancel_coordinator

    cluster = Cluster(0.0)
    jobs = Jobs(study.resolve())
    count = int(cancel_coordinator(study, cluster))
    ids = []
    for submission in jobs.open():
        for task, runs in enumerate(submission.packs):
            left = [Path(run["directory"]) for run in runs]
            for directory in left:
                directory.mkdir(parents=True, exist_ok=True)
                (directory / "stop").write_text("checkpoint", encoding="utf-8")
            if submission.job_id is not None:
                ids.append(f"{submission.job_id}_{task}")
        count += len(submission.packs)
    cluster.cancel(ids, pending_only=True)
    _close_ended(cluster, jobs)
    return count


def _close_ended(cluster: Cluster, jobs: Jobs) -> None:
    """Close the submissions of which nothing waits or runs (any more); cancel what Slurm took without being heard."""
    for _ in range(20):
        try:
            queue = cluster.queue()
        except (NoAnswer, Refused):
            return
        for submission in jobs.open():
            alive = {
                key: state for key, state in queue.items() if state.name == submission.name and state.state in ALIVE
            }
            if not alive:
                jobs.close(submission)
            cluster.cancel([key for key, state in alive.items() if state.state == "PENDING"], pending_only=True)
        if not jobs.open():
            return
        time.sleep(1)
