"""Which differences between cells are real: all pairs at once, on the same examples, with independent seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.statistics.components import Components, Scores, components
from harness.statistics.critical import studentized_range
from harness.statistics.intervals import Scope
from harness.statistics.moderation import moderate

Array = npt.NDArray[np.float64]
Word = Literal["better", "not worse", "worse", "unresolved"]
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Cell a minus cell b; positive where a is better.

    Attributes:
        mean, low, high: the limits hold simultaneously over all pairs.
        error, df: standard error of the mean and its degrees of freedom.
    """

    mean: float
    low: float
    high: float
    error: float
    df: float


@dataclass(frozen=True)
class Verdict:
    """A cell against the true best of the others.

    Attributes:
        word: "better": surely above every other; "not worse": surely less than the margin below every other; "worse":
            surely below some other, and not shown to lie within the margin; "unresolved": none of these.
        gap: the best mean minus this cell's; 0 for the best.
        low, high: limits of this cell minus the best of the others, simultaneous over all cells.
        detectable: the smallest true gap to the best of the others that such data resolve with 80 % power.
        scope: "models" where the verdict rests on a cell of one seed: it then concerns trained models, not methods.
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
        verdicts: one a cell.
        alpha: chance that any of the limits misses.
        margin: what counts as no worse, in the unit of the scores.
    """

    differences: tuple[tuple[Difference | None, ...], ...]
    verdicts: tuple[Verdict, ...]
    alpha: float
    margin: float


def compare(cells: Sequence[Scores], margin: float, alpha: float = 0.05) -> Comparison:
    """Compare cells pairwise; the limits hold at once for all pairs, so also for a best that these data selected.

    Within a cell the scores follow a two-way crossed random-effects model (see `interval`). The cells share the
    examples and not the seeds, so the variance of a difference is that of the examples' paired differences plus each
    cell's seed variance. Seed variances are moderated across cells (Smyth 2004), except of cells whose seeds gave
    identical scores: these have none. Degrees of freedom are Satterthwaite's, the quantile that of the studentized
    range with each pair's own degrees of freedom (Games & Howell 1976).

    Args:
        cells: K arrays (S_k, n) of scores, more being better; S_k may differ, the examples and their order may not.
        margin: in the unit of the scores, at least 0.
        alpha: family-wise error rate.

    Raises:
        HarnessError: no cells, cells of different examples, or what `components` refuses.
    """
    if not cells:
        raise HarnessError("A comparison needs at least 1 cell.")
    found = [components(scores) for scores in cells]
    sizes = sorted({each.examples for each in found})
    if len(sizes) > 1:
        raise HarnessError(f"Cells are compared on the same examples; these have {' and '.join(map(str, sizes))}.")
    return judge(found, margin, alpha)


def judge(found: Sequence[Components], margin: float, alpha: float) -> Comparison:
    """Compare cells whose variance has been analysed: see `compare`."""
    if len(found) == 1:
        alone = Verdict("not worse", 0.0, 0.0, 0.0, 0.0, "models" if found[0].seeds == 1 else "seeds")
        return Comparison(((None,),), (alone,), alpha, margin)
    mean, error, df = pairs(found)
    critical = studentized_range(len(found), alpha, df) / np.sqrt(2)
    half = critical * error
    low, high = mean - half, mean + half
    differences = tuple(
        tuple(
            None if a == b else Difference(*(float(x[a, b]) for x in (mean, low, high, error, df)))
            for b in range(len(found))
        )
        for a in range(len(found))
    )
    return Comparison(differences, _verdicts(found, low, high, _detectable(critical, error, df), margin), alpha, margin)


def pairs(found: Sequence[Components]) -> tuple[Array, Array, Array]:
    """Difference, standard error and degrees of freedom of every pair, each (K, K), row minus column."""
    examples = found[0].examples
    residual = np.array([each.residual_of_mean for each in found])
    residual_df = np.array([max(each.seeds - 1, 1) * (examples - 1.0) for each in found])
    # Variance over the examples of the paired difference of the seeds' means, the residuals' part in it.
    covariance = np.cov(np.stack([each.example_means for each in found])) / examples
    own = np.diag(covariance)
    spread = np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0)
    both, both_squares = _sums(residual), _sums(residual**2 / residual_df)
    # Where the examples' own part is estimated below 0, the seeds' parts hold all there is.
    inside = spread > both
    seed, seed_squares = _seed_parts(found)
    variance = np.where(inside, spread - both, 0) + seed
    squares = np.where(inside, spread**2 / (examples - 1) + both_squares, 0) + seed_squares
    df = np.divide(variance**2, squares, out=np.full_like(variance, examples - 1.0), where=squares > 0)
    means = np.array([each.mean for each in found])
    return means[:, None] - means[None, :], np.sqrt(variance), np.maximum(df, 1.0)


def _seed_parts(found: Sequence[Components]) -> tuple[Array, Array]:
    """What the seeds add to the variance of each pair's difference, and its square over its degrees of freedom."""
    variance, squares = np.zeros(len(found)), np.zeros(len(found))
    pool = 1.0
    estimated = [k for k, each in enumerate(found) if each.seed_variance]
    if estimated:
        raw = np.array([found[k].seed_variance for k in estimated], dtype=np.float64)
        raw_df = np.array([found[k].seeds - 1.0 for k in estimated])
        moderated, df = moderate(raw, raw_df)
        variance[estimated] = moderated / np.array([found[k].seeds for k in estimated])
        squares[estimated] = variance[estimated] ** 2 / df
        pool = float(raw_df.sum())
    both = _sums(variance)
    # Two moderated variances lean on the same pool: together they know no more than it does.
    return both, np.maximum(_sums(squares), both**2 / pool)


def _sums(values: Array) -> Array:
    total: Array = values[:, None] + values[None, :]
    return total


def _detectable(critical: Array, error: Array, df: Array) -> Array:
    from scipy.special import stdtrit

    resolved: Array = (critical + stdtrit(df, POWER)) * error
    return resolved


def _verdicts(
    found: Sequence[Components], low: Array, high: Array, detectable: Array, margin: float
) -> tuple[Verdict, ...]:
    means = np.array([each.mean for each in found])
    single = np.array([each.seeds == 1 for each in found])
    count = len(found)
    beaten = high < 0  # [a][b]: a is surely below b
    np.fill_diagonal(beaten, False)
    verdicts = []
    for k in range(count):
        others = np.arange(count) != k
        # A cell that is surely below a third one is not the best of the others, whatever it is to this cell.
        contenders = others & ~beaten[:, others].any(axis=1)
        contenders = contenders if contenders.any() else others
        lower, upper = float(low[k, contenders].min()), float(high[k, others].min())
        word: Word = "unresolved"
        if lower > 0:
            word = "better"
        elif lower > -margin:
            word = "not worse"
        elif upper < 0:
            word = "worse"
        best = int(np.flatnonzero(others)[means[others].argmax()])
        rests_on = single[beaten[k]] if word == "worse" else single[others]
        # One proof by cells of several seeds is enough to be worse; the other words concern all cells.
        models = bool(single[k] or (rests_on.all() if word == "worse" else rests_on.any()))
        verdicts.append(
            Verdict(
                word=word,
                gap=float(max(means.max() - means[k], 0.0)),
                low=lower,
                high=upper,
                detectable=float(detectable[k, best]),
                scope="models" if models else "seeds",
            )
        )
    return tuple(verdicts)
