"""What more seeds or more test rows would settle, and what they cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.statistics.comparison import POWER, analyzed
from harness.statistics.studentized_range import studentized_range
from harness.statistics.variance.components import Scores
from harness.statistics.variance.degrees_of_freedom import weighted_df
from harness.statistics.variance.pairwise_errors import SHARE_POWER, PairwiseErrors, pairs
from harness.statistics.variance.posterior import posterior_means
from harness.statistics.variance.row_clusters import Groups

Array = npt.NDArray[np.float64]
MOST = 4096.0  # times the present number: beyond it nothing is searched
DRAWS = 1000


@dataclass(frozen=True)
class Needed:
    """What would give a cell its verdict with 80 % power, if its true gaps are the estimated ones.

    Attributes:
        seeds: times the present number of seeds (or replicates) of every cell, with these rows; 1 if the present one is
            enough; None if no number is.
        rows: times the present number of test rows, with these seeds; None if no number is.
        both: times both numbers at once; None if even that is not enough, because the gap is about the margin.
    """

    seeds: float | None
    rows: float | None
    both: float | None


def needed(
    cells: Sequence[Scores],
    margin: float,
    alpha: float = 0.05,
    replicates: Sequence[Sequence[int]] | None = None,
    paired: bool = False,
    groups: Groups | None = None,
) -> tuple[Needed, ...]:
    """Return what each cell's verdict takes, of at least 2 cells; see `compare` for the arguments.

    A verdict is "worse", "not worse" or "better", whichever takes least. The variances are taken as known at their
    estimates, and the gaps as well, which are uncertain themselves: the numbers are orders of magnitude. With new
    numbers x S of seeds and y n of rows, the seeds' part of a variance is that of the seeds over x and that of the
    residuals over x y, the examples' part is over y.
    """
    found, paired = analyzed(cells, replicates, paired, groups)
    model = pairs(found, paired)

    def search(grown: Callable[[float], tuple[float, float]]) -> list[float | None]:
        sizes = np.geomspace(1, MOST, 49)  # a quarter of a doubling each
        enough = np.array([_settled(model, margin, alpha, *grown(size)) for size in sizes])
        return [float(sizes[each.argmax()]) if each.any() else None for each in enough.T]

    seeds, rows, both = search(lambda x: (x, 1.0)), search(lambda y: (1.0, y)), search(lambda z: (z, z))
    return tuple(Needed(*each) for each in zip(seeds, rows, both, strict=True))


def _settled(model: PairwiseErrors, margin: float, alpha: float, seeds: float, rows: float) -> npt.NDArray[np.bool_]:
    """Return which cells (K,) reach a verdict with so many times the seeds and rows."""
    from scipy.special import stdtrit

    noise = np.minimum(model.residual, model.seed)
    seed = (model.seed - noise) / seeds + noise / (seeds * rows)
    spread = model.spread / rows
    df = weighted_df(seed, model.seed_df * seeds, spread, model.examples * rows - 1.0, SHARE_POWER)
    error, power = np.sqrt(seed + spread), stdtrit(df, POWER)
    count = len(error)
    wide = (studentized_range(count, alpha, df) / math.sqrt(2) + power) * error
    least = (stdtrit(df, 1 - alpha / (count - 1)) + power) * error
    beaten = model.mean < -wide
    near = model.mean > least - margin
    for each, value in ((beaten, False), (near, True)):
        np.fill_diagonal(each, value)
    # A cell below a third one is not the best of the others, so nothing need be shown against it.
    contenders = ~beaten.any(axis=1)
    found: npt.NDArray[np.bool_] = beaten.any(axis=1) | (near | ~contenders[None, :]).all(axis=1)
    return found


def settled_by_seeds(model: PairwiseErrors, margin: float, alpha: float, growth: Array) -> Array:
    """Return the probability (K,) that each cell has a verdict once it has so many times its present seeds.

    The means that the cells will have are drawn from their predictive distribution; the examples' part of the error
    stays. The draws are the same in each call, so that a study which is resumed decides as before.

    Args:
        model: of at least 2 cells, with their present seeds.
        margin, alpha: see `compare`.
        growth: (K,) at least 1 each.
    """
    from scipy.special import stdtrit

    count = len(model.means)
    true = posterior_means(model, DRAWS, rows=False)
    noise = np.random.default_rng(1).normal(size=true.shape)
    fresh = 1 - 1 / growth  # share of the new seeds, whose mean has this variance
    variance = np.divide(model.cell_seed, growth - 1, out=np.zeros(count), where=growth > 1)
    means = (1 - fresh) * model.means + fresh * (true + np.sqrt(variance) * noise)
    grown = model.cell_seed / growth
    df = weighted_df(
        grown[:, None] + grown[None, :],
        model.seed_df * np.sqrt(np.outer(growth, growth)),
        model.spread,
        model.examples - 1.0,
        SHARE_POWER,
    )
    error = np.sqrt(grown[:, None] + grown[None, :] + model.spread)
    wide = studentized_range(count, alpha, df) / math.sqrt(2) * error
    least = stdtrit(df, 1 - alpha / (count - 1)) * error
    settled = np.zeros(count)
    for k in range(count):
        others = np.arange(count) != k
        gaps = means[:, [k]] - means[:, others]
        near = (gaps - least[k, others] > -margin).all(axis=1)
        beaten = (gaps + wide[k, others] < 0).any(axis=1)
        settled[k] = float(np.mean(near | beaten))
    return settled
