"""The files of a study: the only module that knows their names, and that reads and writes their forms.

docs/files.md describes what they hold. `RunPaths` has the files of one run; `harness.launch.slurm.submissions` those
below `jobs/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.records.files import load_yaml, read_json, write_json, write_yaml
from harness.records.states import StopRequest

STOP = "stop"  # name of the stop file, in the directory of a run or of a study (for its coordinator)
RUNS = "runs"  # in a study: its runs; in a project: its studies
MODEL, DESCRIPTION = "model", "harness.json"  # a run's saved model; the file that marks a saved model
GROUP = "group"  # column of predictions.parquet: the group of each row, in tasks that name groups
SCORE = "score_"  # start of the columns of predictions.parquet that hold a score for each row, by metric
SCOPE = "scope_"  # likewise, of the columns with the score of each detector of rows of no class (`task.oos_label`)
TEST_OUTSIDE = "test_outside"  # value of the column `split`: test rows of no class
LEASE = "lease.json"  # in the directory of a run on Slurm: which task may write there

_RECORD = "record.json"
_SWEEP, _CHOICES, _IMPORTANCES, _PLAN, _OUTCOME = (
    "sweep.yaml", "choices.json", "importances.json", "plan.json", "outcome.json",
)  # fmt: skip
_LOCK, _HOLDER, _COORDINATOR, _JOURNAL = "study.lock", "holder.json", "coordinator.json", "study.journal"
_COMPACTED = "records.parquet"

MARKS = (_SWEEP, _LOCK, _COMPACTED, _COORDINATOR)  # any of these files marks a study
PUBLISHED = (_SWEEP, _CHOICES, _IMPORTANCES, _PLAN, _OUTCOME)  # a study's own files in an archive


class DamagedFile(Exception):
    """A file of a study that cannot be read; the message is the reason, on one line."""


@dataclass(frozen=True)
class RunPaths:
    """All paths of one run."""

    directory: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.directory / "config.yaml"

    @property
    def record(self) -> Path:
        """The run's record."""
        return self.directory / _RECORD

    @property
    def metrics(self) -> Path:
        """Metrics, one JSON object per line and epoch."""
        return self.directory / "metrics.jsonl"

    @property
    def predictions(self) -> Path:
        """Per-example predictions on validation and test data."""
        return self.directory / "predictions.parquet"

    @property
    def log(self) -> Path:
        """The output that the run printed."""
        return self.directory / "log.txt"

    @property
    def shown(self) -> Path:
        """What a run in other processes says to the terminal that started it; removed when it ends."""
        return self.directory / "shown.txt"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint from which an interrupted run resumes; deleted when the run ends."""
        return self.directory / "checkpoint"

    @property
    def model(self) -> Path:
        """The adapted model, loadable with `harness.predict.load`."""
        return self.directory / MODEL

    @property
    def stop(self) -> Path:
        """The stop file. Its content is a `StopRequest`."""
        return self.directory / STOP

    @property
    def failures(self) -> Path:
        """Losses of the run's worker while a coordinator lived, one JSON object per line."""
        return self.directory / "failures.jsonl"

    def ask(self, request: StopRequest) -> None:
        """Write the stop file."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stop.write_text(request, encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """Read the resolved configuration; {} if it is missing or damaged."""
        with suppress(OSError, ValueError, yaml.YAMLError):
            content = load_yaml(self.config.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration."""
        write_yaml(self.config, config)


@dataclass(frozen=True)
class StudyPaths:
    """The paths of a study, and the content of its files.

    Readers return {} for a file that is missing or damaged, unless they say otherwise.
    """

    directory: Path

    @property
    def sweep(self) -> Path:
        """What was asked, YAML; single runs have none."""
        return self.directory / _SWEEP

    @property
    def choices(self) -> Path:
        """The selected configuration of each cell, and the signatures of the runs that confirm it."""
        return self.directory / _CHOICES

    @property
    def importances(self) -> Path:
        """The importance of the hyperparameters of each cell."""
        return self.directory / _IMPORTANCES

    @property
    def plan(self) -> Path:
        """The estimate that the study began with."""
        return self.directory / _PLAN

    @property
    def outcome(self) -> Path:
        """What the study has spent, and how it ended."""
        return self.directory / _OUTCOME

    @property
    def lock(self) -> Path:
        """The lock that its coordinator holds."""
        return self.directory / _LOCK

    @property
    def holder(self) -> Path:
        """Who holds the lock: {pid, host, since}."""
        return self.directory / _HOLDER

    @property
    def journal(self) -> Path:
        """Optuna's journal of its trials."""
        return self.directory / _JOURNAL

    @property
    def coordinator(self) -> Path:
        """Of a detached study: the job of its coordinator, {job_id, submitted, command}."""
        return self.directory / _COORDINATOR

    @property
    def stop(self) -> Path:
        """The file that asks the coordinator to stop."""
        return self.directory / STOP

    @property
    def compacted(self) -> Path:
        """The directory of the compacted records."""
        return self.directory / _COMPACTED

    @property
    def runs(self) -> Path:
        """The directory of its runs, `runs/<cell>/<run>`."""
        return self.directory / RUNS

    @property
    def jobs(self) -> Path:
        """The directory of what it submitted to Slurm."""
        return self.directory / "jobs"

    def run(self, name: str) -> RunPaths:
        """Return the paths of a run, given as `<cell>/<run>`."""
        return RunPaths(self.runs / name)

    def recorded(self) -> Iterator[RunPaths]:
        """Yield the runs that have a record, in order of name."""
        return recorded(self.runs)

    def read_sweep(self) -> dict[str, Any] | None:
        """Read sweep.yaml; None if there is none.

        `keep_sweep` keeps a copy in JSON, which takes a hundredth of the time.

        Raises:
            DamagedFile: it cannot be read, or holds no mapping.
        """
        try:
            stamp = self._stamp()
            with suppress(OSError, ValueError, TypeError, KeyError):
                known = json.loads(self._copy.read_text(encoding="utf-8"))
                if known["stamp"] == stamp:
                    return dict(known["sweep"])
            content = load_yaml(self.sweep.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DamagedFile(_reason(error)) from error
        if not isinstance(content, dict):
            raise DamagedFile("it holds no mapping")
        return content

    def keep_sweep(self, content: Mapping[str, Any]) -> None:
        """Keep a copy of sweep.yaml in JSON beside the compacted records, if JSON can hold it and there is room."""
        with suppress(OSError, ValueError, TypeError):
            # YAML has values that JSON lacks, e.g. dates and numeric keys.
            if self._copy.parent.is_dir() and not self._copy_is_new() and json.loads(json.dumps(content)) == content:
                write_json(self._copy, {"stamp": self._stamp(), "sweep": content})

    def write_sweep(self, content: Mapping[str, Any]) -> None:
        """Write sweep.yaml."""
        write_yaml(self.sweep, content)

    def read_choices(self) -> dict[str, Any]:
        """Read choices.json; {} if there is none.

        Raises:
            DamagedFile: it cannot be read.
        """
        try:
            content = json.loads(self.choices.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DamagedFile(_reason(error)) from error
        return content if isinstance(content, dict) else {}

    def write_choices(self, choices: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Write the choices so far; cells of the study that are not named keep theirs.

        Args:
            choices: by cell: {trial, val, hyperparameters, signatures}; None if nothing is chosen.
        """
        earlier = read_json(self.choices)
        kept = {cell: each for cell, each in earlier.items() if cell not in choices}
        write_json(self.choices, kept | {cell: each for cell, each in choices.items() if each is not None})

    def read_outcome(self) -> dict[str, Any]:
        """Read outcome.json."""
        return read_json(self.outcome)

    def read_plan(self) -> dict[str, Any]:
        """Read plan.json."""
        return read_json(self.plan)

    def read_importances(self) -> dict[str, Any]:
        """Read importances.json."""
        return read_json(self.importances)

    def read_holder(self) -> dict[str, Any]:
        """Read holder.json."""
        return read_json(self.holder)

    def read_coordinator(self) -> dict[str, Any]:
        """Read coordinator.json."""
        return read_json(self.coordinator)

    @property
    def _copy(self) -> Path:
        return self.compacted / ".sweep.json"

    def _stamp(self) -> list[int]:
        status = self.sweep.stat()
        return [status.st_mtime_ns, status.st_size]

    def _copy_is_new(self) -> bool:
        return bool(read_json(self._copy).get("stamp") == self._stamp())


def recorded(runs: Path, cells: str = "*") -> Iterator[RunPaths]:
    """Yield the runs that have a record, in order of name.

    Args:
        runs: a study's directory of runs.
        cells: a glob pattern of the cells, or `<cell>/<run>` for one run.
    """
    one = cells if "/" in cells else f"{cells}/*"
    return (RunPaths(path.parent) for path in sorted(runs.glob(f"{one}/{_RECORD}")))


def record_of(run: str) -> str:
    """Return the path of a run's record as text, given the run's; a `Path` costs more than a system call."""
    return f"{run}/{_RECORD}"


def studies_in(directory: Path) -> list[str]:
    """Return the names of the studies with a sweep.yaml in a directory."""
    return sorted(path.parent.name for path in directory.glob(f"*/{_SWEEP}"))


def _reason(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
