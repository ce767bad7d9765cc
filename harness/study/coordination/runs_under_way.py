"""The runs that are under way, and the jobs that execute them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from types import MappingProxyType

from harness.launch import Job
from harness.records.run_spec import RunSpec
from harness.study.cell_scheduler import CellScheduler


class RunsUnderWay:
    """The runs under way. Every question is answered at a cost that does not grow with their number.

    Attributes:
        by_directory: the cell and the job of each run, by the run's directory.
        jobs: the identity of the job of each run, by the run's directory.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[CellScheduler, Job]] = {}
        self._jobs: dict[str, Hashable] = {}
        self._runs: Counter[Hashable] = Counter()  # runs under way of each job
        self.by_directory: Mapping[str, tuple[CellScheduler, Job]] = MappingProxyType(self._found)
        self.jobs: Mapping[str, Hashable] = MappingProxyType(self._jobs)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def number_of_jobs(self) -> int:
        """Number of jobs with a run under way."""
        return len(self._runs)

    def add(self, spec: RunSpec, scheduler: CellScheduler, job: Job) -> None:
        """Add a run, or give it to another job."""
        self.remove(spec.directory)
        self._found[spec.directory] = scheduler, job
        self._jobs[spec.directory] = id(job)
        self._runs[id(job)] += 1

    def remove(self, directory: str) -> None:
        """Remove a run, if it is under way."""
        if directory not in self._found:
            return
        job = self._jobs.pop(directory)
        del self._found[directory]
        self._runs[job] -= 1
        if not self._runs[job]:
            del self._runs[job]
