"""Optuna's pruners, which end trials that do worse than others; `harness.search.asha` pauses trials instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna

from harness.config.schema import TuneConfig
from harness.search.rungs import Rungs
from harness.search.samplers import startup_trials

LEAST = 4  # learning curves needed for a meaningful median


def make_pruner(tune: TuneConfig, rungs: Rungs) -> optuna.pruners.BasePruner:
    """Make the pruner of an Optuna study; scores are reported at its rungs only.

    Args:
        tune: the name of the pruner, and its settings.
        rungs: where trials are compared.
    """
    # PatientPruner has been experimental for years.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if not rungs.at:
        return optuna.pruners.NopPruner()

    def median() -> optuna.pruners.BasePruner:
        return optuna.pruners.MedianPruner(n_startup_trials=startup_trials(tune), n_min_trials=LEAST)

    kinds: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "median": median,
        "patient": lambda: optuna.pruners.PatientPruner(median(), patience=tune.patience),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(
            min_resource=rungs.at[0], max_resource=rungs.total, reduction_factor=tune.reduction_factor
        ),
        "successive_halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=rungs.at[0], reduction_factor=tune.reduction_factor
        ),
        "asha": optuna.pruners.NopPruner,
    }
    return kinds[tune.pruner]()
