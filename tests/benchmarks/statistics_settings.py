"""The populations that tests/benchmarks/statistics.py draws studies from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tests.benchmarks.population import Design, Method, draw

Array = npt.NDArray[np.float64]

ACCURACY = 0.86
MARGIN = 0.01
PLAN = (3, 5, 8, 12, 15)


@dataclass(frozen=True)
class Setting:
    """Studies to draw: methods on a design.

    Attributes:
        name: of the setting; with the design it decides the random numbers.
        claimed: whether errors are to stay within what is claimed; not where no method can know.
        margin: non-inferiority margin.
    """

    name: str
    design: Design
    methods: tuple[Method, ...]
    claimed: bool = True
    margin: float = MARGIN

    def studies(self, count: int) -> Iterator[tuple[list[Array], list[list[int]]]]:
        """Draw them, with the replicate of each run; the same for the same setting."""
        key = zlib.crc32(f"{self.name} {self.design} {self.methods}".encode())
        for i in range(count):
            yield draw(np.random.default_rng((i, key)), self.design, self.methods)

    @property
    def seeds(self) -> str:
        """Numbers of seeds, for display."""
        return "/".join(dict.fromkeys(str(method.seeds) for method in self.methods))


def of(count: int, deviation: float, seeds: int = 3, accuracy: float = ACCURACY, **others: float) -> tuple[Method, ...]:
    """Equal methods."""
    return (Method(accuracy, deviation, seeds, **others),) * count  # type: ignore[arg-type]


def _seeded(methods: Sequence[Method], seeds: int) -> tuple[Method, ...]:
    return tuple(replace(method, seeds=seeds) for method in methods)


def equal_methods() -> Iterator[Setting]:
    """Settings in which all methods are equal, so that every "better" and "worse" is wrong."""
    large, small = Design(3080), Design(500)
    default = (*of(2, 0.0), *of(1, 0.003), *of(1, 0.02))
    for seeds in (3, 5, 10):
        yield Setting("default study: 2 deterministic, 0.3%, 2.0%", large, _seeded(default, seeds))
    yield Setting("default study: 2 deterministic, 0.3%, 2.0%", small, default)
    for count, wild, seeds in ((2, 0.02, 3), (2, 0.02, 5), (4, 0.02, 3), (10, 0.03, 3), (10, 0.05, 3), (20, 0.02, 3)):
        methods = (*of(1, wild, seeds), *of(count - 1, 0.003, seeds))
        yield Setting(f"one of {wild:.1%}, {count - 1} of 0.3%", large, methods)
    yield Setting("two of 3.0%, 8 of 0.3%", large, (*of(2, 0.03), *of(8, 0.003)))
    yield Setting("one of 2.0%, 9 deterministic", large, (*of(1, 0.02), *of(9, 0.0)))
    spaced = tuple(Method(ACCURACY, float(deviation)) for deviation in np.geomspace(0.001, 0.027, 10))
    for seeds in (3, 5):
        yield Setting("0.1% to 2.7%, log-spaced", large, _seeded(spaced, seeds))
    yield Setting("5 of 0.3%, 5 of 2.0%", large, _seeded((*of(5, 0.003), *of(5, 0.02)), 2))
    for few, many, count in ((3, 15, 9), (2, 10, 9), (2, 10, 19), (2, 10, 1)):
        methods = (*of(1, 0.02, few), *of(count, 0.003, many))
        yield Setting(f"unequal seeds: one of 2.0%, {count} of 0.3%", large, methods)
    yield Setting("unequal seeds: one of 0.3%, 9 of 0.3%", large, (*of(1, 0.003, 2), *of(9, 0.003, 10)))
    yield Setting("Student's t3 of 1.3%", large, (Method(deviation=0.013, tail="t3"),) * 10)
    yield Setting("seed x class 1.3%, 10 classes", Design(3080, classes=10), of(10, 0.003, by_class=0.013))
    for seeds in (3, 10):
        methods = (Method(collapse=(0.1, 0.1), seeds=seeds), *of(9, 0.003, seeds))
        yield Setting("a tenth of one's seeds collapse by 10 points", large, methods, claimed=False)
    for deviation in (0.003, 0.013):
        for count, seeds in ((2, 3), (10, 2), (10, 3), (10, 10)):
            yield Setting(f"{count} of {deviation:.1%}", large, of(count, deviation, seeds))
        yield Setting(f"10 of {deviation:.1%}", small, of(10, deviation))


def least_favorable() -> Iterator[Setting]:
    """One best method and the others exactly a margin below it: every "not worse" of these is wrong."""
    for n, margin in ((400, 0.03), (3080, 0.01)):
        for clear in (1.0, 3.0):
            design = Design(n, clear=clear)
            name = "seeds disagree" if clear == 1 else "seeds agree"

            def case(
                what: str, best: Method, *others: Method, design: Design = design, margin: float = margin
            ) -> Setting:
                below = tuple(replace(other, accuracy=0.9 - margin) for other in others)
                return Setting(what, design, (replace(best, accuracy=0.9), *below), margin=margin)

            for seeds, count in ((3, 2), (10, 2), (10, 10)):
                steady = Method(deviation=0.003, seeds=seeds)
                yield case(f"{count - 1} of 0.3% a margin below, {name}", steady, *(steady,) * (count - 1))
            steady = Method(deviation=0.0, seeds=2)
            yield case(f"deterministic, {name}", steady, steady)
            for seeds in (3, 5):
                wild = Method(deviation=0.02, seeds=seeds)
                yield case(f"one of 2.0% a margin below, {name}", Method(deviation=0.003, seeds=seeds), wild)
    for seeds in (3, 5, 10):
        methods = (Method(0.9, 0.003, seeds), Method(0.87, 0.003, seeds, collapse=(0.1, 0.3)))
        yield Setting("collapses put it a margin below", Design(400), methods, claimed=False, margin=0.03)


def replicated() -> Iterator[Setting]:
    """Equal methods whose tuning runs, or draws of training rows, vary more than their seeds."""
    for tunings, seeds in ((3, 3), (5, 3), (3, 1), (10, 2)):
        for count in (2, 5):
            methods = (Method(deviation=0.0025, seeds=seeds, tuning=0.004),) * count
            yield Setting(f"{count} methods, {tunings} tunings of 0.4%", Design(1500, replicates=tunings), methods)
    uneven = tuple(Method(deviation=0.0025, seeds=seeds, tuning=0.004) for seeds in ((3, 3, 1), (2, 3, 5), (1, 3, 3)))
    yield Setting("3 methods, 3 tunings of 0.4%, uneven seeds", Design(1500, replicates=3), uneven)
    for draws in (3, 5, 8):
        for count in (2, 5):
            methods = (Method(deviation=0.003, seeds=2, draw=0.015),) * count
            design = Design(750, replicates=draws, common=0.03)
            yield Setting(f"{count} methods, {draws} draws of 1.5%, common 3%", design, methods)


def powers() -> Iterator[Setting]:
    """Five methods, and five that are 2 points worse; alike, or with a wild one among them."""
    for n in (500, 3080):
        for deviation in (0.003, 0.013):
            for seeds in (3, 5, 10):
                methods = (*of(5, deviation, seeds, 0.87), *of(5, deviation, seeds, 0.85))
                yield Setting(f"seed deviation {deviation:.1%}", Design(n), methods)
    wild = (*of(5, 0.003, 3, 0.87), *of(4, 0.003, 3, 0.85), *of(1, 0.03, 3, 0.85))
    yield Setting("0.3%, one of 3.0%", Design(3080), wild)
