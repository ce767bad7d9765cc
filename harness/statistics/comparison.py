"""Test which differences between cells are real: all pairs at once, on the same examples, with independent seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.statistics.intervals import Scope, weighted_df
from harness.statistics.studentized_range import studentized_range
from harness.statistics.variance_components import Components, Scores, components
from harness.statistics.variance_shrinkage import moderate

Array = npt.NDArray[np.float64]
Word = Literal["better", "not worse", "worse", "unresolved"]
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Cell a minus cell b; positive if a is better.

    Attributes:
        mean, low, high: the difference and its limits, which hold simultaneously over all pairs.
        error, df: standard error of the mean and its degrees of freedom.
        least: a tighter lower limit, which holds simultaneously over all cells a where b is the true best.
    """

    mean: float
    low: float
    high: float
    error: float
    df: float
    least: float


@dataclass(frozen=True)
class Verdict:
    """A cell compared with the true best of the others.

    Attributes:
        word: "better": significantly above every other cell; "not worse": significantly less than the margin below
            every other cell; "worse": significantly below another cell, and not shown to lie within the margin;
            "unresolved": none of these. At most a fraction alpha of studies has any wrong "better" or "worse", and at
            most alpha any wrong "not worse".
        gap: the best mean minus this cell's; 0 for the best.
        low, high: limits of this cell minus the true best of the others, each simultaneous over all cells.
        detectable: the smallest true gap to the best of the others that such data resolves with 80 % power.
        scope: "models" if the verdict rests on a cell with one seed: it then concerns trained models, not methods.
    """

    word: Word
    gap: float
    low: float
    high: float
    detectable: float
    scope: Scope


@dataclass(frozen=True)
class Comparison:
    """All pairs of K cells.

    Attributes:
        differences: K x K, [a][b] for cell a minus cell b; None on the diagonal.
        verdicts: one per cell.
        alpha: probability that any of the limits `low` and `high` of the differences is wrong.
        margin: non-inferiority margin, in the unit of the scores.
    """

    differences: tuple[tuple[Difference | None, ...], ...]
    verdicts: tuple[Verdict, ...]
    alpha: float
    margin: float


def compare(
    cells: Sequence[Scores],
    margin: float,
    alpha: float = 0.05,
    earlier: Comparison | None = None,
    span: float = math.inf,
) -> Comparison:
    """Compare cells pairwise. All limits hold simultaneously, so also for a best cell that these data selected.

    Within a cell the scores follow a two-way crossed random-effects model (see `interval`). The cells share the
    examples but not the seeds, so the variance of a difference is that of the examples' paired differences plus each
    cell's seed variance. Seed variances are moderated across cells (Smyth 2004), except in cells whose seeds gave
    identical scores: theirs is 0. The limits use the quantile of the studentized range with each pair's own degrees of
    freedom (Games & Howell 1976).

    Whether a cell is within the margin of the best concerns one unknown other cell only, the true best. So K - 1
    one-sided statements suffice, whichever cell that is (Hsu 1981), with Bonferroni's quantile of Student's t.

    Args:
        cells: K arrays (S_k, n) of scores, higher is better; S_k may differ, the examples and their order may not.
        margin: non-inferiority margin in the unit of the scores, at least 0.
        alpha: family-wise error rate.
        earlier: a comparison of the same cells with fewer seeds, which had an error rate of its own. Its limits hold,
            too, so what it excluded stays excluded, and each limit is the tighter of the two.
        span: the largest possible difference (`Scale.span`); limits are clipped to it.

    Raises:
        HarnessError: no cells, cells with different examples, or what `components` refuses.
    """
    if not cells:
        raise HarnessError("A comparison needs at least 1 cell.")
    found = [components(scores) for scores in cells]
    sizes = sorted({each.examples for each in found})
    if len(sizes) > 1:
        raise HarnessError(f"Cells are compared on the same examples; these have {' and '.join(map(str, sizes))}.")
    return judge(found, margin, alpha, earlier, span)


def judge(
    found: Sequence[Components],
    margin: float,
    alpha: float,
    earlier: Comparison | None = None,
    span: float = math.inf,
) -> Comparison:
    """Compare cells whose variance components are known; see `compare`."""
    from scipy.special import stdtrit

    if len(found) == 1:
        alone = Verdict("not worse", 0.0, 0.0, 0.0, 0.0, "models" if found[0].seeds == 1 else "seeds")
        return Comparison(((None,),), (alone,), alpha, margin)
    mean, error, df = pairs(found)
    critical = studentized_range(len(found), alpha, df) / np.sqrt(2)
    limits = Limits(
        low=np.maximum(mean - critical * error, -span),
        high=np.minimum(mean + critical * error, span),
        least=np.maximum(mean - stdtrit(df, 1 - alpha / (len(found) - 1)) * error, -span),
        detectable=np.minimum((critical + stdtrit(df, POWER)) * error, span),
    )
    if earlier is not None:
        limits = _tighter(limits, earlier)
    parts = np.stack([mean, limits.low, limits.high, error, df, limits.least], axis=-1).tolist()
    differences = tuple(
        tuple(None if a == b else Difference(*numbers) for b, numbers in enumerate(row)) for a, row in enumerate(parts)
    )
    return Comparison(differences, _verdicts(found, limits, margin), alpha, margin)


def _tighter(limits: Limits, earlier: Comparison) -> Limits:
    rows = earlier.differences
    low, high, least = (
        np.array([[0.0 if each is None else getattr(each, name) for each in row] for row in rows])
        for name in ("low", "high", "least")
    )
    low, high = np.maximum(low, limits.low), np.minimum(high, limits.high)
    crossed = low > high  # one of the two looks is wrong, unknown which: use the later one, it has more seeds
    return limits._replace(
        low=np.where(crossed, limits.low, low),
        high=np.where(crossed, limits.high, high),
        least=np.where(crossed, limits.least, np.maximum(least, limits.least)),
    )


class Limits(NamedTuple):
    """Limits per pair (K, K), from which `Difference` and `Verdict` are made."""

    low: Array
    high: Array
    least: Array
    detectable: Array


def pairs(found: Sequence[Components]) -> tuple[Array, Array, Array]:
    """Return difference, standard error and degrees of freedom of every pair, each (K, K), row minus column."""
    examples = found[0].examples
    residual = np.array([each.residual_of_mean for each in found])
    # Variance over the examples of the paired difference of seed means; the seed variance already has the residuals.
    covariance = np.cov(np.stack([each.example_means for each in found])) / examples
    own = np.diag(covariance)
    spread = np.maximum(own[:, None] + own[None, :] - 2 * covariance - _sums(residual), found[0].floor)
    seed, seed_df = _seed_parts(found)
    df = weighted_df(seed, seed_df, spread, examples - 1.0)
    means = np.array([each.mean for each in found])
    return means[:, None] - means[None, :], np.sqrt(seed + spread), df


def _seed_parts(found: Sequence[Components]) -> tuple[Array, Array]:
    """Return the seeds' part of the variance of each pair's difference, and Welch's (1938) degrees of freedom."""
    variance, squares = np.zeros(len(found)), np.zeros(len(found))
    pool = 1.0
    estimated = [k for k, each in enumerate(found) if each.seeds > 1 and not each.deterministic]
    if estimated:
        raw = np.array([found[k].bounded_seed_variance for k in estimated])
        raw_df = np.array([found[k].seeds - 1.0 for k in estimated])
        moderated, df = moderate(raw, raw_df)
        variance[estimated] = moderated / np.array([found[k].seeds for k in estimated])
        squares[estimated] = variance[estimated] ** 2 / df
        pool = float(raw_df.sum())
    both = _sums(variance)
    df = np.divide(both**2, _sums(squares), out=np.ones_like(both), where=both > 0)
    # Two moderated variances share one pool, so together they have at most its degrees of freedom.
    return both, np.minimum(df, pool)


def _sums(values: Array) -> Array:
    total: Array = values[:, None] + values[None, :]
    return total


def _verdicts(found: Sequence[Components], limits: Limits, margin: float) -> tuple[Verdict, ...]:
    means = np.array([each.mean for each in found])
    single = np.array([each.seeds == 1 for each in found])
    count = len(found)
    beaten = limits.high < 0  # [a][b]: a is significantly below b
    np.fill_diagonal(beaten, False)
    verdicts = []
    for k in range(count):
        others = np.arange(count) != k
        # A cell significantly below a third one is not the best of the others, however it compares with this cell.
        contenders = others & ~beaten[:, others].any(axis=1)
        contenders = contenders if contenders.any() else others
        lower, upper = float(limits.least[k, contenders].min()), float(limits.high[k, others].min())
        word: Word = "unresolved"
        if limits.low[k, others].min() > 0:
            word = "better"
        elif lower > -margin:
            word = "not worse"
        elif upper < 0:
            word = "worse"
        best = int(np.flatnonzero(others)[means[others].argmax()])
        rests_on = single[beaten[k]] if word == "worse" else single[others]
        # One better cell with several seeds suffices for "worse"; the other verdicts concern all cells.
        models = bool(single[k] or (rests_on.all() if word == "worse" else rests_on.any()))
        verdicts.append(
            Verdict(
                word=word,
                gap=float(max(means.max() - means[k], 0.0)),
                low=lower,
                high=upper,
                detectable=float(limits.detectable[k, best]),
                scope="models" if models else "seeds",
            )
        )
    return tuple(verdicts)
