"""Cost estimates from calibration: short runs of each cell on a slice of its data."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.schema import Config
from harness.design.prepared_cell import PreparedCell
from harness.launch.local.pool import LocalLauncher
from harness.planning.capacity import gpus, workers
from harness.planning.estimate import Cost, from_rates
from harness.records.run_spec import RunBatch
from harness.records.states import Phase
from harness.system.resources import usable_cores

if TYPE_CHECKING:
    from harness.runs.calibration import Rates

START_SECONDS = 5.0  # start-up time of the workers, if it was not measured
SPREAD = (0.8, 1.25)
BUSY_SPREAD = (0.4, 2.0)  # wider, as other work slows the measurement and may end
IDLE_LOAD = 0.25  # load average per core below which a machine counts as idle
TIMEOUT_MINUTES = 5.0  # time after which the measurement of a cell counts as hung


def calibrate(ready: Sequence[PreparedCell], config: Config) -> tuple[dict[str, Cost], float, dict[str, str]]:
    """Measure cells, one after another, each on all workers at once.

    Returns:
        Costs by cell; the start-up seconds of the workers; and by cell, why it could not be measured.
    """
    count, threads = workers(config)
    costs: dict[str, Cost] = {}
    failed: dict[str, str] = {}
    loads: dict[tuple[str, str], float] = {}
    start = START_SECONDS
    spread = SPREAD if idle() else BUSY_SPREAD
    with tempfile.TemporaryDirectory(prefix="harness-plan-") as root:
        began = time.time()
        launcher = LocalLauncher(count, threads, TIMEOUT_MINUTES, gpus(config), "harness.runs.calibration")
        try:
            for number, each in enumerate(ready):
                rates, reason = _measure(launcher, each, Path(root), config)
                if rates is None:
                    failed[each.cell.id] = reason
                    continue
                if number == 0:
                    start = rates.began - began
                # The load time of a backbone is measured with the first cell that uses it.
                load = loads.setdefault((each.fingerprint, each.model_digest), rates.load)
                cost = from_rates(each, replace(rates, load=load), cached=False)
                costs[each.cell.id] = replace(cost, spread=spread)
        finally:
            launcher.close()
    return costs, start, failed


def _measure(launcher: LocalLauncher, each: PreparedCell, root: Path, config: Config) -> tuple[Rates | None, str]:
    """Return one cell's rates, the mean over the workers; None and the reason if a worker failed."""
    from harness.runs.calibration import ANSWER, Rates

    folders = [root / f"{each.cell.id}-{worker}" for worker in range(launcher.capacity)]
    for folder in folders:
        folder.mkdir()
        spec = each.spec(root, "plan", Phase.TUNE, config.seed, {}, trial=0)
        launcher.submit(RunBatch((replace(spec, directory=str(folder)),)))
    left, lost = len(folders), None
    while left:
        for outcome in launcher.wait(1.0):
            left -= 1
            lost = outcome.lost or lost
    answers = []
    for folder in folders:
        try:
            answers.append(json.loads((folder / ANSWER).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None, lost or "its worker did not answer."
    if errors := [str(answer["error"]) for answer in answers if "error" in answer]:
        return None, errors[0]
    rates = [Rates(**answer) for answer in answers]
    means = {
        field.name: sum(getattr(each, field.name) for each in rates) / len(rates)
        for field in fields(Rates)
        if isinstance(getattr(rates[0], field.name), float)
    }
    peak = max(each.peak_memory_mb for each in rates)
    return replace(rates[0], **means | {"peak_memory_mb": peak}), ""


def idle() -> bool:
    """Return whether this machine was mostly idle in the last minute."""
    try:
        return os.getloadavg()[0] < IDLE_LOAD * usable_cores()
    except (OSError, AttributeError):  # not available on every system
        return True
