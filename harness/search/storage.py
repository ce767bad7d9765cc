"""The Optuna storage of a study: a single writer, a lock that names its holder, repair of a truncated journal.

Only this module uses private members of Optuna (tests/search/test_private_members.py): trials are written to two
storages, and each step of that needs the ids that Optuna hides.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.design.search_space import Parameter, conditional
from harness.errors import HarnessError, is_disk_full
from harness.records.files import now, write_json
from harness.records.study_files import StudyPaths
from harness.search.samplers import Unused

UNNAMED = "search"  # the name in memory of every Optuna study


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a study. It is a lock of the operating system, so it is released when its holder dies.

    Raises:
        HarnessError: another coordinator holds the study; names it.
    """
    paths = StudyPaths(directory)
    held = FileLock(paths.lock)
    try:
        held.acquire(timeout=0.3)  # `harness.status` holds the lock for a moment to test whether it is free
    except Timeout:
        try:
            who = paths.read_holder()
            name = f"process {who['pid']} on {who['host']} since {who['since']}"
        except KeyError:
            name = "another process"
        raise HarnessError(
            f"The study {directory.name} is being coordinated by {name}. Wait for it, stop it, or name another study: "
            f"study=<name>."
        ) from None
    try:
        write_json(paths.holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
        yield
    finally:
        paths.holder.unlink(missing_ok=True)
        held.release()


def open_storage(url: str | None, directory: Path, warn: Callable[[str], None]) -> BaseStorage:
    """Open the storage; call this only while holding the lock.

    Args:
        url: any Optuna storage URL; None for the study's own journal.
        directory: of the study.
        warn: called with a message if the journal was repaired.

    Raises:
        HarnessError: the storage cannot be opened.
    """
    if url is not None:
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:
            hidden = url.split("://")[0]  # the rest may hold a password
            raise HarnessError(
                f"tune.storage={hidden}://... cannot be opened: {type(error).__name__}. Check the URL, that the server "
                f"answers and that its driver is installed, or leave tune.storage out for a journal file."
            ) from error
    journal = StudyPaths(directory).journal
    try:
        mend(journal, warn)
        return JournalStorage(_SingleWriterJournal(str(journal)))
    except Exception as error:  # a damaged entry fails in json or anywhere in Optuna's replay
        if is_disk_full(error):
            raise
        raise HarnessError(
            f"{journal} cannot be read ({type(error).__name__}: {error}). Restore it from a copy, or move it away: "
            "trials are then asked for anew, and runs that have a record are not repeated."
        ) from error


class _SingleWriterJournal(JournalFileBackend):  # type: ignore[misc] # Optuna publishes no types here
    """Optuna's journal file with the cheaper of its locks, as the study's own lock already excludes other writers."""

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_obj=JournalFileOpenLock(path))


def mend(journal: Path, warn: Callable[[str], None]) -> None:
    """Truncate a journal to its last complete line.

    A last line that is incomplete, after a crash or on a full disk, would corrupt the next entry. A copy of the
    original file is kept beside it.
    """
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return
    end = content.rfind(b"\n") + 1
    whole = end == len(content)
    while whole and end:  # a complete last line that is not valid JSON is cut, too
        start = content.rfind(b"\n", 0, end - 1) + 1
        try:
            json.loads(content[start:end])
            break
        except ValueError:
            end, whole = start, True
    if end == len(content):
        return
    backup = journal.with_name(f"{journal.name}.torn-{now().replace(':', '')}")
    shutil.copyfile(journal, backup)
    with journal.open("r+b") as file:
        file.truncate(end)
    warn(
        f"The last line of {journal} was torn; the journal was cut to its last complete line. The file as it was is "
        f"{backup.name}."
    )


class MirroredStudy:
    """An Optuna study in memory, each change of which is also written to the storage.

    A trial is sampled in memory and then stored in one entry, state RUNNING, with all its parameters. So a crash leaves
    either no trial or a complete entry.

    Args:
        name: of the Optuna study.
        directions: maximize | minimize, one an objective.
        storage: an Optuna study of this name in it is continued.
        pruner: asked by `should_prune`.

    Attributes:
        version: increases when a trial is stored or gets its result.
    """

    def __init__(
        self, name: str, directions: Sequence[str], storage: BaseStorage, pruner: optuna.pruners.BasePruner
    ) -> None:
        self._stored = optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True, sampler=Unused()
        )
        # Hyperband assigns trials to brackets by the study's name, which must not change what is pruned.
        in_memory = optuna.create_study(study_name=UNNAMED, directions=directions, sampler=Unused())
        self._memory = _SampledStudy(UNNAMED, in_memory._storage, Unused(), pruner)
        for trial in self._stored.get_trials(deepcopy=False):
            self._memory.add_trial(trial)
        _copy_attributes(self._stored, self._memory)
        self._handles: dict[int, optuna.Trial] = {}
        self.version = 0

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The stored user attributes of the Optuna study."""
        attributes: dict[str, Any] = self._stored.user_attrs
        return attributes

    def set_attribute(self, name: str, value: Any) -> None:
        """Store a user attribute of the Optuna study."""
        self._stored.set_user_attr(name, value)

    def trials(self) -> list[FrozenTrial]:
        """Return every trial, by number. They must not be changed."""
        trials: list[FrozenTrial] = self._memory.get_trials(deepcopy=False)
        return trials

    def sample(
        self,
        sampler: optuna.samplers.BaseSampler,
        space: Mapping[str, Parameter],
        fixed: Mapping[str, Any] | None,
        shown_as_pruned: frozenset[int],
    ) -> dict[str, Any]:
        """Sample the next trial in memory, and return its parameters; `store` must follow.

        Args:
            sampler: of this trial.
            space: the tuned keys; those with a condition are sampled where it holds.
            fixed: parameters that are not sampled.
            shown_as_pruned: numbers of the unfinished trials that the sampler sees as pruned at their last rung.
        """
        if fixed is not None:
            self._memory.enqueue_trial(dict(fixed))
        self._memory.sampler, self._memory.shown_as_pruned = sampler, shown_as_pruned
        handle = self._ask(space)
        self._memory.sampler, self._memory.shown_as_pruned = Unused(), frozenset()
        self._handles[handle.number] = handle
        params: dict[str, Any] = handle.params
        return params

    def _ask(self, space: Mapping[str, Parameter]) -> optuna.Trial:
        if not conditional(space):
            return self._memory.ask({key: entry.distribution for key, entry in space.items()})
        handle = self._memory.ask()
        values: dict[str, Any] = {}
        for key, entry in space.items():
            if entry.active(values):
                values[key] = handle._suggest(key, entry.distribution)
        return handle

    def store(self, attributes: Mapping[str, Any], with_sampler_state: bool) -> None:
        """Write the trial that was sampled last.

        Args:
            attributes: user attributes to set.
            with_sampler_state: whether to keep what the sampler stored of the trial.
        """
        self.version += 1
        trial = self.trials()[-1]
        for name, value in attributes.items():
            self._handles[trial.number].set_user_attr(name, value)
        _copy_attributes(self._memory, self._stored)
        self._stored.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=dict(attributes),
                system_attrs=dict(self.trials()[-1].system_attrs) if with_sampler_state else None,
            )
        )

    def set_trial_attribute(self, number: int, name: str, value: Any) -> None:
        """Store a user attribute of a trial."""
        for study in (self._memory, self._stored):
            study._storage.set_trial_user_attr(_trial_id(study, number), name, value)

    def tell(
        self, number: int, values: Sequence[float] | None, pruned: bool, excess: Mapping[str, float] | None
    ) -> None:
        """Store the result of a trial.

        Args:
            number: of the trial.
            values: one an objective; None, or one that is not finite, for a failure.
            pruned: whether the trial was ended early; its values are ignored.
            excess: by constraint, the excess over its limit.
        """
        self.version += 1
        if values is not None and not all(map(math.isfinite, values)):
            values = None
        finished = TrialState.FAIL if values is None else TrialState.COMPLETE
        state = TrialState.PRUNED if pruned else finished
        for study in (self._memory, self._stored):
            for name, amount in (excess or {}).items():
                optuna.Trial(study, _trial_id(study, number)).set_constraint(name, amount)
            study.tell(number, None if pruned else values, state=state)
        self._handles.pop(number, None)

    def report(self, number: int, step: int, value: float) -> None:
        """Store an intermediate score; one that was reported for the same step before is kept."""
        if step not in (reported := self.trials()[number].intermediate_values):
            if reported:  # pruners store state at each step; the decision is ignored, as other trials may report first
                self.should_prune(number)
            self._handle(number).report(value, step)
            self._stored._storage.set_trial_intermediate_value(_trial_id(self._stored, number), step, value)

    def should_prune(self, number: int) -> bool:
        """Return whether a trial should be ended. What the pruner stores of it, such as its rung, is written, too."""
        should_prune = bool(self._handle(number).should_prune())
        stored = self._stored.get_trials(deepcopy=False)[number]
        for key, value in self.trials()[number].system_attrs.items():
            if stored.system_attrs.get(key) != value:
                self._stored._storage.set_trial_system_attr(stored._trial_id, key, value)
        return should_prune

    def _handle(self, number: int) -> optuna.Trial:
        if number not in self._handles:
            self._handles[number] = optuna.Trial(self._memory, _trial_id(self._memory, number))
        return self._handles[number]


class _SampledStudy(optuna.Study):  # type: ignore[misc] # Optuna publishes no types here
    """An Optuna study that shows its sampler unfinished trials with scores at rungs as pruned at their last rung.

    TPE learns from pruned trials. Otherwise it would rank all paused and promoted trials worst, as it does with running
    trials, and draw at random until some are complete. gp and nsga2 learn from complete trials only and would draw at
    random anyway, so `harness.config.validation.check_search` refuses them together with pauses.

    Attributes:
        shown_as_pruned: numbers of the trials that are shown as pruned; set only while a trial is sampled.
    """

    shown_as_pruned: frozenset[int] = frozenset()

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        if not self.shown_as_pruned:
            return list(super()._get_trials(deepcopy, states, use_cache))
        shown = [
            _as_pruned(trial) if trial.number in self.shown_as_pruned else trial
            for trial in super()._get_trials(deepcopy, None, use_cache)
        ]
        return [trial for trial in shown if states is None or trial.state in states]


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state, shown.value = TrialState.PRUNED, trial.intermediate_values[trial.last_step]
    return shown


def _trial_id(study: optuna.Study, number: int) -> int:
    """Return Optuna's id of a trial, by its number."""
    return int(study.get_trials(deepcopy=False)[number]._trial_id)


def _copy_attributes(source: optuna.Study, target: optuna.Study) -> None:
    """Copy what a sampler stores about the whole study (QMCSampler: its position in the sequence)."""
    old = target._storage.get_study_system_attrs(target._study_id)
    for key, value in source._storage.get_study_system_attrs(source._study_id).items():
        if old.get(key) != value:
            target._storage.set_study_system_attr(target._study_id, key, value)
