"""Adaptive replication: at planned looks, cells whose verdict is open get more seeds.

Which cells get more is a function of the records alone (`harness.statistics.sequential`), so a study that was killed
decides as an uninterrupted one would have.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from harness.config.schema import ConfirmConfig, ReportConfig
from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.records.run_spec import RunSpec
from harness.records.states import RunStatus
from harness.report.cells.failures import with_failures
from harness.report.reading.predictions import Unreadable, read_files
from harness.statistics import Sequential, scale_of, sequential
from harness.study.cell_scheduler import CellScheduler

GROWTH = 1.5  # growth of seeds from one look to the next: 3, 5, 8, 12, 15; each look spends a share of the error rate
MOST_FAILURES = 3  # failed confirmations of a cell for which further seeds are tried; each failure stays a result

Key = tuple[str, tuple[tuple[str, str], ...], str]


def plan_looks(confirm: ConfirmConfig, begun: int) -> list[int]:
    """Plan the looks: the numbers of seeds per cell at which verdicts are computed; [] if the seeds are fixed.

    Args:
        confirm: the `confirm` section.
        begun: seeds that every cell begins with.

    Raises:
        HarnessError: the requested looks begin at another number of seeds, or the maximum is below the number that
            every cell begins with.
    """
    if confirm.looks:
        if confirm.looks[0] != begun:
            raise HarnessError(
                f"confirm.looks={list(confirm.looks)} must begin at the {begun} seeds that every cell begins with "
                f"(confirm.seeds, or the seeds named by seed=1,2,...)."
            )
        return list(confirm.looks)
    if confirm.max_seeds is None:
        return []
    if begun < 2 <= confirm.max_seeds:
        raise HarnessError(
            "confirm.max_seeds adds seeds where verdicts are open, and one seed gives no estimate of their variance: "
            "begin with two or more, confirm.seeds=2."
        )
    if confirm.max_seeds < begun:
        raise HarnessError(f"confirm.max_seeds={confirm.max_seeds} is below the {begun} seeds that were named.")
    looks = [begun]
    while looks[-1] < confirm.max_seeds:
        looks.append(min(confirm.max_seeds, -int(-looks[-1] * GROWTH // 1)))
    return looks


class Replication:
    """Gives seeds to the cells of a study until every verdict is reached or the planned looks are used up.

    Args:
        schedulers: the schedulers of the cells.
        looks: see `plan_looks`; [] gives no seeds.
        tuning_seed: never used for confirmation.
        report: the margin and the confidence.
        say: prints the result of each look.
        seeds_added: called when a cell got more seeds.
    """

    def __init__(
        self,
        schedulers: Iterable[CellScheduler],
        looks: Sequence[int],
        tuning_seed: int,
        report: ReportConfig,
        say: Callable[[str], None],
        seeds_added: Callable[[], None] = lambda: None,
    ) -> None:
        self._looks, self._tuning_seed, self._report, self._say = looks, tuning_seed, report, say
        self._seeds_added = seeds_added
        self._groups: dict[Key, list[CellScheduler]] = {}
        for scheduler in schedulers:
            self._groups.setdefault(_key(scheduler), []).append(scheduler)
        self._seen: dict[Key, tuple[int, ...]] = {}  # confirmations of each cell of a group at its last look
        self._reported: dict[Key, int] = {}  # number of looks of a group that the user was told of

    def advance(self) -> bool:
        """Take a look at each group of comparable cells whose runs have all ended. Return whether a cell got seeds."""
        if len(self._looks) < 2:
            return False
        granted = False
        for key, schedulers in self._groups.items():
            if all(scheduler.done for scheduler in schedulers):
                ended = tuple(len(scheduler.confirmation.ended()) for scheduler in schedulers)
                if self._seen.get(key) != ended:
                    self._seen[key] = ended
                    granted |= self._look(key, schedulers)
        return granted

    def _look(self, key: Key, schedulers: Sequence[CellScheduler]) -> bool:
        compared, scores, rows = [], [], None
        for scheduler in schedulers:
            ended = scheduler.confirmation.ended()
            done = [spec for spec, record in ended if record.status == RunStatus.OK]
            metric, minimize = scheduler.cell.metric, not scheduler.cell.maximize
            try:
                predictions = read_files(
                    [spec.paths.predictions for spec in done],
                    [_place(spec)[1] for spec in done],
                    metric,
                    minimize,
                )
            except Unreadable as reason:
                if done:
                    self._say(f"{scheduler.id} gets no more seeds: {reason}.")
                continue
            rows = rows or predictions
            if rows.same_rows(predictions):
                lost = [_place(spec) for spec, record in ended if record.status != RunStatus.OK]
                counted, _ = with_failures(
                    predictions, [_place(spec) for spec in done], lost, metric, minimize, self._report.failed_as
                )
                compared.append(scheduler)
                scores.append(counted)
        if len(compared) < 2 or rows is None:
            return False
        capped = [_failed(scheduler) > MOST_FAILURES for scheduler in compared]
        # As in the report (`harness.report.analysis.verdicts`), so that both reach the same verdicts.
        replay = sequential(
            scores, self._looks, self._report.margin, 1 - self._report.confidence, capped, scale_of(key[2]).span,
            groups=rows.groups,
        )  # fmt: skip
        more = {
            scheduler.id: self._add_seeds(scheduler, wanted - len(present))
            for scheduler, wanted, present in zip(compared, replay.wanted, scores, strict=True)
        }
        self._report_look(key, compared, replay, more)
        return any(more.values())

    def _add_seeds(self, scheduler: CellScheduler, missing: int) -> int:
        if missing <= 0 or _failed(scheduler) > MOST_FAILURES:
            return 0
        fresh = (seed for seed in itertools.count(max(scheduler.confirmation.seeds) + 1) if seed != self._tuning_seed)
        if failed := _failed(scheduler):
            self._say(
                f"{scheduler.id}: {failed} of {plural(len(scheduler.confirmation.specs), 'confirmation')} failed. "
                f"{plural(missing, 'seed')} more to try; the failures stay in the record and count as results."
            )
        scheduler.confirmation.add_seeds(list(itertools.islice(fresh, missing)))
        self._seeds_added()
        return missing

    def _report_look(
        self, key: Key, compared: Sequence[CellScheduler], replay: Sequential, more: dict[str, int]
    ) -> None:
        taken = len(replay.looks)
        if taken == self._reported.get(key):
            return
        self._reported[key] = taken
        unresolved = sum(verdict.word == "unresolved" for verdict in replay.verdicts)
        names = [f"{scheduler.id} +{more[scheduler.id]}" for scheduler in compared if more[scheduler.id]]
        what = {
            "resolved": "every verdict is reached",
            "cap": f"{unresolved} of {len(compared)} cells stay open: the plan gives no more seeds",
            "futile": f"{unresolved} of {len(compared)} cells stay open, and even {self._looks[-1]} seeds each would "
            "most probably not settle them on these test rows: replication ends here. More test rows would tell more",
            "more": f"{unresolved} of {len(compared)} cells are open; more seeds: {several(names) or 'none'}",
        }[replay.state]
        if taken:
            self._say(
                f"Look {taken} of {len(self._looks)} at {key[0]}, up to {max(replay.looks[-1].seeds)} seeds: {what}."
            )


def _place(spec: RunSpec) -> tuple[int, int]:
    return spec.replicate, int(spec.config["seed"])


def _failed(scheduler: CellScheduler) -> int:
    return sum(record.status != RunStatus.OK for _, record in scheduler.confirmation.ended())


def _key(scheduler: CellScheduler) -> Key:
    cell = scheduler.cell
    axes = tuple((name, str(value)) for name, value in cell.variant.items() if name.startswith("task."))
    return cell.task, axes, cell.metric
