"""Promotion by rungs: the rule, by itself and in a study of its own that is killed and resumed."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.schema import TuneConfig
from harness.search.asha import PromotionRule, TrialStanding
from harness.search.rungs import Rungs
from harness.search.storage import open_storage
from harness.search.trials import Trials
from tests.search.test_trials import CONTINUOUS

NAN = float("nan")


def ladder(maximize: bool = True) -> PromotionRule:
    return PromotionRule((1, 3), 3, maximize)


def at_first(*scores: float) -> list[TrialStanding]:
    """Trials that wait at the first rung."""
    return [TrialStanding(number, {1: score}) for number, score in enumerate(scores)]


def test_nobody_is_promoted_before_a_rung_has_as_many_as_the_factor() -> None:
    """A third of two is none."""
    assert ladder().promotable(at_first(0.5, 0.9)) == []
    assert ladder().promotable(at_first(0.5, 0.9, 0.1)) == [1]
    assert ladder(maximize=False).promotable(at_first(0.5, 0.9, 0.1)) == [2]
    assert ladder().promotable(at_first(0.5, 0.9, 0.1, 0.6, 0.2, 0.3)) == [1, 3]


def test_the_top_of_a_rung_counts_those_that_went_on_or_ended() -> None:
    """The best of six was promoted, so only the second best may follow; not the third, who came later."""
    trials = at_first(0.1, 0.2, 0.9, 0.8, 0.7, 0.3)
    trials[2] = replace(trials[2], level=1)
    assert ladder().promotable(trials) == [3]
    trials[3] = replace(trials[3], over=True)
    assert ladder().promotable(trials) == []


def test_the_highest_rung_comes_first() -> None:
    """Whoever is closest to the end goes on before others begin to climb."""
    high = [TrialStanding(number, {1: 0.5, 3: 0.1 * number}, level=1) for number in range(3)]
    low = [replace(trial, number=trial.number + 3) for trial in at_first(0.9, 0.95, 0.99)]
    assert ladder().promotable([*high, *low]) == [2, 5, 4]


def test_a_trial_waits_only_at_its_own_limit() -> None:
    """One that was promoted is under way until it reports there; one that may go to its end never waits."""
    waits = TrialStanding(0, {1: 0.5})
    assert ladder().paused(waits) and ladder().limit(waits) == 1
    assert not ladder().paused(replace(waits, level=1))
    assert not ladder().paused(replace(waits, over=True))
    end = TrialStanding(0, {1: 0.5, 3: 0.6}, level=2)
    assert ladder().limit(end) is None and not ladder().paused(end)


def test_what_is_undefined_is_worst_and_of_equals_the_earlier_comes_first() -> None:
    """A metric may have no value; ties are no matter of chance."""
    assert ladder().promotable(at_first(NAN, 0.2, 0.2)) == [1]
    assert ladder(maximize=False).promotable(at_first(NAN, 0.2, 0.2)) == [1]


def test_one_goes_on_to_its_end_when_nothing_runs() -> None:
    """A small study may have nobody among the top third; the best of the highest rung is taken."""
    trials = at_first(0.5, 0.9)
    assert ladder().promotable(trials) == []
    assert ladder().best_paused([*trials, TrialStanding(2, {})]) is None  # its score may still change who is best
    assert ladder().best_paused(trials) == 1
    trials[0] = TrialStanding(0, {1: 0.5, 3: 0.6}, level=1)
    assert ladder().best_paused(trials) == 0
    assert ladder().best_paused([replace(trial, over=True) for trial in trials]) is None


def test_without_rungs_everything_runs_to_its_end() -> None:
    """As closed-form methods do."""
    nothing = PromotionRule((), 3, True)
    assert nothing.limit(TrialStanding(0, {})) is None
    assert nothing.promotable([TrialStanding(0, {})]) == [] and nothing.best_paused([TrialStanding(0, {})]) is None


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_events_keeps_the_promises_of_the_search(seed: int) -> None:
    """Whoever is promoted is among the top of its rung at that moment; all come to rest; one can reach its end."""
    draw = random.Random(seed)
    factor, rungs = draw.choice([2, 3, 4]), tuple(draw.choice([[1], [1, 3], [2, 4, 8]]))
    total, workers = draw.randint(1, 40), draw.randint(1, 8)
    maximize = draw.random() < 0.5
    rule = PromotionRule(rungs, factor, maximize)
    trials: list[TrialStanding] = []
    running: list[int] = []
    while True:
        while len(running) < workers:
            if next_ones := rule.promotable(trials):
                number = next_ones[0]
                waits = trials[number]
                rung = rule.limit(waits)
                assert rule.paused(waits) and rung is not None
                sign = 1 if maximize else -1
                seen = [sign * trial.values[rung] for trial in trials if rung in trial.values]
                assert sum(each > sign * waits.values[rung] for each in seen) < len(seen) // factor
                trials[number] = replace(waits, level=waits.level + 1)
            elif len(trials) < total:
                number = len(trials)
                trials.append(TrialStanding(number, {}))
            else:
                break
            running.append(number)
        if not running:
            break
        number = running.pop(draw.randrange(len(running)))
        limit = rule.limit(trials[number])
        if limit is None or draw.random() < 0.05:  # done, or failed
            trials[number] = replace(trials[number], over=True)
        else:
            score = draw.choice([NAN, draw.random(), 0.5])
            trials[number] = replace(trials[number], values={**trials[number].values, limit: score})
    assert len(trials) == total
    assert all(trial.over or rule.paused(trial) for trial in trials)
    if not any(trial.over for trial in trials):
        best = rule.best_paused(trials)
        assert best is not None and trials[best].level == max(trial.level for trial in trials if trial.values)


# -- in a study


def open_trials(directory: Path, tune: TuneConfig) -> Trials:
    return Trials(
        "cell", CONTINUOUS, tune, True, [{"lr": 1e-3, "r": 8}], open_storage(None, directory, pytest.fail),
        Rungs("epochs", (1, 3), 9),
    )  # fmt: skip


def score(values: dict[str, float], epochs: int) -> float:
    """A made-up curve."""
    return (1 - abs(values["lr"] - 2e-3) * 100) * (1 - 1 / (1 + epochs)) + 1e-3 * values["r"]


def decisions(directory: Path, tune: TuneConfig, reopen: bool) -> Iterator[tuple[int, int | None]]:
    """Every run that a study asks for, one after another: trial and limit."""
    study = open_trials(directory, tune)
    while True:
        if (found := (study.ask() if not study.quota.over else study.promote_best_paused())) is None:
            return
        limit = study.limit(found.number)
        yield found.number, limit
        if reopen:  # killed after it was asked for, before it was told
            study = open_trials(directory, tune)
            assert study.limit(found.number) == limit
        if limit is None:
            study.tell(found.number, score(found.values, 9))
        else:
            study.report(found.number, limit, score(found.values, limit))
        if reopen:
            study = open_trials(directory, tune)
            assert limit is None or found.number in study.paused()


@pytest.mark.parametrize(("sampler", "count"), [("random", 27), ("tpe", 27), ("random", 4)])
def test_a_study_resumed_at_every_moment_takes_the_decisions_of_the_uninterrupted_one(
    tmp_path: Path, sampler: str, count: int
) -> None:
    """Who is asked for, who is promoted and how far: all of it lies in the storage."""
    tune = TuneConfig(trials=count, sampler=sampler, pruner="asha")
    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
    straight = list(decisions(tmp_path / "straight", tune, reopen=False))
    assert straight == list(decisions(tmp_path / "resumed", tune, reopen=True))
    ended = [number for number, limit in straight if limit is None]
    assert len({number for number, _ in straight}) == count
    assert len(ended) == 1 if count == 4 else 3 <= len(ended) <= 9  # a ninth, and who was best for a while
    study = open_trials(tmp_path / "straight", tune)
    assert study.quota.over and study.outcome_known and {trial.number for trial in study.complete()} == set(ended)
    assert len(study.paused()) == count - len(ended)


def test_the_sampler_learns_from_paused_trials(tmp_path: Path) -> None:
    """TPE would draw at random until some trials have come to their end, and take all that wait for bad ones."""
    tune = TuneConfig(trials=60, sampler="tpe", pruner="asha", startup_trials=10)
    study = open_trials(tmp_path, tune)
    distances = []
    for _ in range(40):
        found = study.ask()
        while study.limit(found.number) != 1:  # who is promoted is under way for the rest of the test
            found = study.ask()
        distances.append(abs(math.log10(found.values["lr"] / 2e-3)))
        study.report(found.number, 1, -distances[-1])
    assert statistics.median(distances[20:]) < 0.5 * statistics.median(distances[:10])
