"""Test which differences between cells are real: all pairs at once, on the same examples, with independent seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.statistics.intervals import Scope
from harness.statistics.studentized_range import studentized_range
from harness.statistics.variance.components import Components, Scores, components
from harness.statistics.variance.pairwise_errors import pairs, skewness
from harness.statistics.variance.replicates import common
from harness.statistics.variance.row_clusters import Groups

Array = npt.NDArray[np.float64]
Word = Literal["better", "not worse", "worse", "unresolved"]
POWER = 0.8
SKEWNESS = 1.5  # of 0, 1, 1.5 and 2, the smallest that keeps "not worse" in tests/benchmarks/statistics


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
        replicates: number of replicates of each cell; with 1 the verdicts hold for that tuning run and draw only.
    """

    differences: tuple[tuple[Difference | None, ...], ...]
    verdicts: tuple[Verdict, ...]
    alpha: float
    margin: float
    replicates: tuple[int, ...] = ()


def compare(
    cells: Sequence[Scores],
    margin: float,
    alpha: float = 0.05,
    earlier: Comparison | None = None,
    span: float = math.inf,
    replicates: Sequence[Sequence[int]] | None = None,
    paired: bool = False,
    groups: Groups | None = None,
) -> Comparison:
    """Compare cells pairwise. All limits hold simultaneously, so also for a best cell that these data selected.

    Within a cell the scores follow a two-way crossed random-effects model (see `interval`). The cells share the
    examples but not the seeds, so the variance of a difference is that of the examples' paired differences plus each
    cell's seed variance. Seed variances are moderated across cells (Smyth 2004), except in cells whose seeds gave
    identical scores: theirs is 0. The limits use the quantile of the studentized range with each pair's own degrees of
    freedom (Games & Howell 1976).

    Whether a cell is within the margin of the best concerns one unknown other cell only, the true best. So K - 1
    one-sided statements suffice, whichever cell that is (Hsu 1981), with Bonferroni's quantile of Student's t.

    With replicates the verdicts are about a cell whatever its tuning run, or whatever the draw of its training rows:
    replicates are the random sample, seeds are nested in them, and examples are crossed with both (Bouthillier et al.
    2021). All runs give one verdict. One replicate gives the result without replicates, which holds for that one.

    Args:
        cells: K arrays (S_k, n) of scores, higher is better; S_k may differ, the examples and their order may not.
        margin: non-inferiority margin in the unit of the scores, at least 0.
        alpha: family-wise error rate.
        earlier: a comparison of the same cells with fewer seeds, which had an error rate of its own. Its limits hold,
            too, so what it excluded stays excluded, and each limit is the tighter of the two.
        span: the largest possible difference (`Scale.span`); limits are clipped to it.
        replicates: K sequences (S_k,) with the replicate of each run; numbers of replicates and of their seeds may
            differ. A replicate is what `confirm.vary` varies beside the seed: a tuning run, or a draw of training rows
            (a tuning run on a draw of its own is one replicate). Label seeds of their own in each replicate.
        paired: replicates are draws, and draw r of a cell has the same training rows as draw r of the others. What a
            draw does to all cells alike then cancels. Draws that not all cells have are left out.
        groups: (n,) the cluster of each example (`task.group`); clusters are then the sample of the examples.

    Raises:
        HarnessError: no cells, cells with different examples or (paired) without a draw in common, or what `components`
            refuses.
    """
    found, paired = analyzed(cells, replicates, paired, groups)
    return judge(found, paired, margin, alpha, earlier, span)


def analyzed(
    cells: Sequence[Scores], replicates: Sequence[Sequence[int]] | None, paired: bool, groups: Groups | None
) -> tuple[list[Components], bool]:
    """Return the components of each cell, and whether its replicates are paired with those of the others.

    Raises:
        HarnessError: see `compare`.
    """
    if not cells:
        raise HarnessError("A comparison needs at least 1 cell.")
    sizes = sorted({scores.shape[-1] for scores in cells})
    if len(sizes) > 1:
        raise HarnessError(f"Cells are compared on the same examples; these have {' and '.join(map(str, sizes))}.")
    if replicates is None:
        return [components(scores, groups=groups) for scores in cells], False
    if len(replicates) != len(cells):
        raise HarnessError(f"Each cell has labels of its own; here are {len(cells)} cells and {len(replicates)} lists.")
    paired = paired and len(cells) > 1
    if paired:
        draws = common(replicates)
        kept = [np.isin(labels, draws) for labels in replicates]
        cells = [scores[keep] for scores, keep in zip(cells, kept, strict=True)]
        replicates = [np.asarray(labels)[keep].tolist() for labels, keep in zip(replicates, kept, strict=True)]
        paired = len(draws) > 1
    found = [components(scores, of, groups, paired) for scores, of in zip(cells, replicates, strict=True)]
    return found, paired


def judge(
    found: Sequence[Components],
    paired: bool,
    margin: float,
    alpha: float,
    earlier: Comparison | None = None,
    span: float = math.inf,
) -> Comparison:
    """Compare cells whose variance components are known; see `compare`."""
    from scipy.special import stdtrit

    if len(found) == 1:
        alone = Verdict("not worse", 0.0, 0.0, 0.0, 0.0, "models" if found[0].seeds == 1 else "seeds")
        return Comparison(((None,),), (alone,), alpha, margin, _replicates(found))
    model = pairs(found, paired)
    mean, error, df = model.mean, model.error, model.df
    critical = studentized_range(len(found), alpha, df) / np.sqrt(2)
    one_sided = stdtrit(df, 1 - alpha / (len(found) - 1))
    # Rows that a cell loses are rare and count -1 each: where few of them were drawn, the difference is overestimated
    # and its error underestimated. Johnson's (1978) correction of t for skewness, which the same rows underestimate.
    one_sided += SKEWNESS * np.maximum(-skewness(found, error), 0.0) * (1 + 2 * one_sided**2) / 6
    limits = Limits(
        low=np.maximum(mean - critical * error, -span),
        high=np.minimum(mean + critical * error, span),
        least=np.maximum(mean - one_sided * error, -span),
        detectable=np.minimum((critical + stdtrit(df, POWER)) * error, span),
    )
    if earlier is not None:
        limits = _tighter(limits, earlier)
    parts = np.stack([mean, limits.low, limits.high, error, df, limits.least], axis=-1).tolist()
    differences = tuple(
        tuple(None if a == b else Difference(*numbers) for b, numbers in enumerate(row)) for a, row in enumerate(parts)
    )
    return Comparison(differences, _verdicts(found, limits, margin), alpha, margin, _replicates(found))


def typical_gap(verdicts: Sequence[Verdict]) -> float | None:
    """Return the median `detectable` of the unresolved verdicts; None if all are reached.

    The median, because a single noisy cell decides the largest.
    """
    gaps = [verdict.detectable for verdict in verdicts if verdict.word == "unresolved"]
    return float(np.median(gaps)) if gaps else None


def _replicates(found: Sequence[Components]) -> tuple[int, ...]:
    return tuple(each.seeds if each.replicated else 1 for each in found)


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
