"""What happens to the runs of a lost job: they are tried again, with fewer others or elsewhere, or given up."""

from __future__ import annotations

from collections.abc import Callable

from harness.config.schema import LaunchConfig
from harness.launch import Launcher, Outcome
from harness.records.files import now
from harness.records.record import Record
from harness.records.run_records import note_failure
from harness.records.run_spec import RunSpec
from harness.records.states import RunStatus
from harness.study.coordination.run_messages import run_name


class Losses:
    """Counts the losses of each run, and decides whether it is tried again.

    Args:
        launcher: how often a run is started again after losses that it did not cause.
        launch: how often after losses that it caused.
        limit_batch: sets with how many runs a run shares its next job.
        say: prints a line for the user.
    """

    def __init__(
        self,
        launcher: Launcher,
        launch: LaunchConfig,
        limit_batch: Callable[[RunSpec, int], None],
        say: Callable[[str, str], None],
    ) -> None:
        self._launcher, self._launch, self._limit_batch, self._say = launcher, launch, limit_batch, say

    def reduce_sharing(self, spec: RunSpec, outcome: Outcome, suspects: int) -> bool:
        """After a loss that other runs of the job may have caused, let a run share its next job with fewer runs.

        After a lack of memory, the run shares with half as many. After another loss of runs that were under way
        together, each goes on alone: this shows which run was at fault, and the failure counts against that run only.

        Args:
            spec: the run.
            outcome: of its job.
            suspects: how many of the job's runs may have caused the loss.

        Returns:
            Whether the run shares with fewer; False if no other run can have caused the loss.
        """
        size = len(outcome.job.batch.runs)
        if outcome.attributed_to == "memory" and size > 1:
            self._limit_batch(spec, max(1, size // 2))
            return True
        if (
            outcome.lost is not None
            and outcome.attributed_to == "run"
            and outcome.job.batch.together > 1
            and suspects > 1
        ):
            self._limit_batch(spec, 1)
            return True
        return False

    def final_record(self, spec: RunSpec, outcome: Outcome, suspects: int) -> Record | None:
        """Count the loss of a run. Return None if the run is tried again, else the record that says that it is lost.

        Args:
            spec: the run.
            outcome: of its job.
            suspects: how many of the job's runs may have caused the loss, this one included.
        """
        reason = outcome.lost or "Its process ended the run without a record."
        smaller = self.reduce_sharing(spec, outcome, suspects)
        elsewhere = outcome.attributed_to == "place" or smaller
        failures = note_failure(spec.paths, reason, elsewhere)
        allowed = self._launcher.places if elsewhere else self._launch.retries
        if failures <= allowed:
            how = "Placed anew." if elsewhere else f"Trying again ({failures} of {allowed})."
            self._say(f"{run_name(spec)}: {reason} {how}", "yellow")
            return None
        times = "once" if failures == 1 else f"{failures} times"
        rule = f"slurm.max_requeues={allowed}" if elsewhere else f"launch.retries={allowed}"
        record = spec.new_record(RunStatus.LOST, f"{reason} Tried {times} ({rule}).")
        record.ended = now()
        spec.paths.directory.mkdir(parents=True, exist_ok=True)
        record.write(spec.paths.record)
        return record
