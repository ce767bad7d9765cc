"""Whether the statistics keep their word: `python -m tests.benchmarks.statistics [--only PART] [--json FILE]`.

- coverage: share of 95 % intervals that hold the true mean, at 3, 5 and 10 seeds x seed deviations of 0.3 and 1.3
  points x 500 and 3,080 examples. Wanted: 93 to 97 %.
- scale: the same for intervals that stay on the scale of a fraction, and how many symmetric ones leave it, at
  accuracies of 86 to 99.9 % x 16 to 3,080 examples x 1, 3 and 5 seeds. The seeds' deviation is a tenth of the errors;
  the one seed's interval is of that model.
- familywise: share of studies of ten equal methods in which any is called better or worse, in the same settings, with
  three deterministic methods, and with unequal seed deviations. Wanted: at most 6.4 %, which is 5 % and its sampling
  error over 1,000 studies. Likewise any "not worse" of methods that are a margin worse.
- adaptive: the same for seeds added at planned looks until the verdicts are reached.
- power: how often a gap of 2 points is found, and equal methods are shown to lie within the margin.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from harness.statistics import Verdict, compare, interval, sequential
from harness.statistics.scale import OPEN, SCALES
from tests.benchmarks.population import draw

ACCURACY = 0.86
MARGIN = 0.01
METHODS = 10
PLAN = (3, 5, 8, 12, 15)
SEEDS, DEVIATIONS, EXAMPLES = (3, 5, 10), (0.003, 0.013), (500, 3080)
EXAMPLES_NEAR_END = (385, 3080)
COVERED = (0.93, 0.97)
LEAST = 0.88  # the known dip of a score interval, where 50 rows are expected to hold half a wrong one
ERRS = 0.064


@dataclass(frozen=True)
class Setting:
    """Studies to draw: accuracies and seed deviations a method, on n examples, at so many seeds each."""

    name: str
    n: int
    seeds: int
    accuracies: tuple[float, ...]
    deviations: tuple[float, ...]

    def studies(self, count: int) -> Iterator[list[np.ndarray]]:
        """Draw them; the same for the same setting and count."""
        for i in range(count):
            key = (i, self.n, self.seeds, *(int(1e4 * x) for x in (*self.accuracies, *self.deviations)))
            yield draw(np.random.default_rng(key), self.n, self.seeds, self.accuracies, self.deviations)


def equal(seeds: int, n: int) -> Iterator[Setting]:
    """Ten methods without differences: alike, three of them deterministic, or of unequal deviations."""
    alike = (ACCURACY,) * METHODS
    for deviation in DEVIATIONS:
        yield Setting(f"seed deviation {deviation:.1%}", n, seeds, alike, (deviation,) * METHODS)
    yield Setting("3 deterministic, 1.3%", n, seeds, alike, (0.0,) * 3 + (0.013,) * (METHODS - 3))
    yield Setting("5 of 0.3%, 5 of 1.3%", n, seeds, alike, (0.003, 0.013) * (METHODS // 2))


def coverage(studies: int) -> Iterator[dict[str, Any]]:
    """Coverage of the interval of one method."""
    for n, deviation, seeds in product(EXAMPLES, DEVIATIONS, SEEDS):
        setting = Setting(f"seed deviation {deviation:.1%}", n, seeds, (ACCURACY,), (deviation,))
        found = [interval(cells[0]) for cells in setting.studies(4 * studies)]
        share = float(np.mean([each.low <= ACCURACY <= each.high for each in found]))
        width = float(np.mean([each.high - each.low for each in found])) / 2
        low, high = COVERED
        yield _row("coverage", setting, covered=share, half_width=width, ok=low <= share <= high)


def scale(studies: int) -> Iterator[dict[str, Any]]:
    """Coverage near the end of the scale: score intervals, and the symmetric ones that they replace."""
    for accuracy, n, seeds in product((0.86, 0.94, 0.99, 0.999), (16, 50, *EXAMPLES_NEAR_END), (1, 3, 5)):
        deviation = (1 - accuracy) / 10 if seeds > 1 else 0.0
        setting = Setting(f"accuracy {accuracy:.1%}", n, seeds, (accuracy,), (deviation,))
        drawn = [cells[0] for cells in setting.studies(2 * studies)]
        values: dict[str, float] = {}
        for name, kind in (("symmetric", OPEN), ("score", SCALES["accuracy"])):
            found = [interval(scores, scale=kind) for scores in drawn]
            values[f"{name}_covered"] = float(np.mean([each.low <= accuracy <= each.high for each in found]))
            values[f"{name}_width"] = float(np.mean([each.high - each.low for each in found]))
            values[f"{name}_outside"] = float(np.mean([each.high > 1 for each in found]))
        good = values["score_covered"] >= LEAST and values["score_outside"] == 0
        yield _row("scale", setting, **values, ok=good)


def _judged(setting: Setting, verdicts: list[tuple[Verdict, ...]]) -> dict[str, float]:
    """Share of studies with a wrong better or worse, and with a wrong not worse."""
    best = max(setting.accuracies)
    unique = setting.accuracies.count(best) == 1
    wrong = {
        "better": [accuracy < best or not unique for accuracy in setting.accuracies],
        "worse": [accuracy == best for accuracy in setting.accuracies],
        "not worse": [accuracy < best - MARGIN + 1e-9 for accuracy in setting.accuracies],
    }
    errs = [[each.word in wrong and wrong[each.word][k] for k, each in enumerate(study)] for study in verdicts]
    words = [[each.word for each in study] for study in verdicts]
    false = [
        [err and word == "not worse" for err, word in zip(*row, strict=True)] for row in zip(errs, words, strict=True)
    ]
    return {
        "wrong_better_or_worse": float(np.mean([sum(e) > sum(f) for e, f in zip(errs, false, strict=True)])),
        "wrong_not_worse": float(np.mean([any(f) for f in false])),
    }


def familywise(studies: int) -> Iterator[dict[str, Any]]:
    """Errors of the fixed design, where methods are equal and where half are a margin worse."""
    for n, seeds in product(EXAMPLES, SEEDS):
        for setting in (*equal(seeds, n), *_a_margin_worse(seeds, n)):
            verdicts = [compare(cells, MARGIN).verdicts for cells in setting.studies(studies)]
            errs = _judged(setting, verdicts)
            yield _row("familywise", setting, **errs, ok=max(errs.values()) <= ERRS)


def adaptive(studies: int) -> Iterator[dict[str, Any]]:
    """Errors when seeds are added at planned looks until the verdicts are reached."""
    for n in EXAMPLES:
        for setting in (*equal(PLAN[-1], n), *_a_margin_worse(PLAN[-1], n)):
            found = [sequential(cells, PLAN, MARGIN) for cells in setting.studies(studies)]
            errs = _judged(setting, [each.verdicts for each in found])
            runs = float(np.mean([sum(each.looks[-1].seeds) for each in found]))
            yield _row("adaptive", setting, **errs, runs=runs, ok=max(errs.values()) <= ERRS)


def power(studies: int) -> Iterator[dict[str, Any]]:
    """How often one of five methods that are 2 points worse is called so, and one of the five best not worse."""
    accuracies = (ACCURACY + 0.01,) * 5 + (ACCURACY - 0.01,) * 5
    for n, deviation in product(EXAMPLES, DEVIATIONS):
        setting = Setting(f"seed deviation {deviation:.1%}", n, PLAN[-1], accuracies, (deviation,) * METHODS)
        for seeds in (*SEEDS, PLAN[-1]):
            fixed = replace(setting, seeds=seeds)
            verdicts = [compare(cells, MARGIN).verdicts for cells in fixed.studies(max(studies // 4, 1))]
            yield _row("power", fixed, **_found(verdicts), runs=METHODS * seeds, ok=True)
        found = [sequential(cells, PLAN, MARGIN) for cells in setting.studies(max(studies // 4, 1))]
        runs = float(np.mean([sum(each.looks[-1].seeds) for each in found]))
        row = _row("power", setting, **_found([each.verdicts for each in found]), runs=runs, ok=True)
        yield {**row, "seeds": "adaptive"}


def _a_margin_worse(seeds: int, n: int) -> Iterator[Setting]:
    halves = (ACCURACY,) * 5 + (ACCURACY - MARGIN,) * 5
    yield Setting("5 a margin worse, 0.3%", n, seeds, halves, (0.003,) * METHODS)


def _found(verdicts: list[tuple[Verdict, ...]]) -> dict[str, float]:
    return {
        "found_worse": float(np.mean([each.word == "worse" for study in verdicts for each in study[5:]])),
        "found_not_worse": float(np.mean([each.word == "not worse" for study in verdicts for each in study[:5]])),
    }


def _row(part: str, setting: Setting, ok: bool, **values: float) -> dict[str, Any]:
    rounded = {key: round(value, 4) for key, value in values.items()}
    return {"part": part, "setting": setting.name, "examples": setting.n, "seeds": setting.seeds, **rounded, "ok": ok}


PARTS: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "coverage": coverage,
    "scale": scale,
    "familywise": familywise,
    "adaptive": adaptive,
    "power": power,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="a setting; four times as many intervals")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name in [arguments.only] if arguments.only else PARTS:
        started = time.perf_counter()
        for row in PARTS[name](arguments.studies):
            rows.append(row)
            values = "  ".join(
                f"{key} {value:.1%}" for key, value in row.items() if isinstance(value, float) and key != "runs"
            )
            runs = f"  runs {row['runs']:.0f}" if "runs" in row else ""
            where = f"{row['setting']:24} n {row['examples']:<5} seeds {row['seeds']!s:9}"
            print(f"{name:10} {where} {values}{runs}{'' if row['ok'] else '  FAILS'}", flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s")
    if arguments.json:
        result = {
            "name": "statistics",
            "studies": arguments.studies,
            "hardware": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        }
        lines = ",\n  ".join(json.dumps(row) for row in rows)  # a line a setting
        head = json.dumps(result).removesuffix("}")
        arguments.json.write_text(f'[{head},\n "rows": [\n  {lines}\n ]}}]\n', encoding="utf-8")
    if not all(row["ok"] for row in rows):
        sys.exit("Some shares are outside what is wanted.")


if __name__ == "__main__":
    main()
