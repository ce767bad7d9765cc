"""Whether the statistics keep their word: `python -m tests.benchmarks.statistics [--only PART] [--json FILE]`.

- coverage: share of 95 % intervals that hold the true mean. Wanted: at least 93 %; at most 97 with 500 rows or more, 3
  seeds or more, and some seed variance. Wider is honest, but said.
- clusters: the same where rows belong together, with and without knowing it.
- familywise: share of studies of equal methods in which any is called better or worse. Wanted: at most 5 % and two of
  its sampling errors, which is 6.4 % over 1,000 studies.
- not_worse: share of studies in which any is wrongly called not worse, where one is best and the rest a margin below.
- replicates: equal methods whose tuning runs or draws vary: errors with the replicates known, and without.
- adaptive: errors and runs when seeds are added at planned looks until the verdicts are reached.
- metrics: coverage of metrics that are no mean over rows, and how often they are said to have no interval.
- answers: expected regret of the choice and its probability of lying within the margin, as said and in truth.
- power: how often a gap of 2 points is found, and equal methods are shown to lie within the margin.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from harness.statistics import (
    Verdict,
    choose,
    compare,
    interval,
    scale_of,
    sequential,
)
from harness.tasks.text_classification.metrics import METRICS
from tests.benchmarks import statistics_speech as utterances
from tests.benchmarks import statistics_tagging as tags
from tests.benchmarks.population import Design, Method, draw
from tests.benchmarks.statistics_metrics import TASKS, scores, truth
from tests.benchmarks.statistics_metrics import studies as metric_studies
from tests.benchmarks.statistics_settings import (
    ACCURACY,
    MARGIN,
    PLAN,
    Setting,
    equal_methods,
    least_favorable,
    of,
    powers,
    replicated,
)

COVERED = (0.93, 0.97)
Row = dict[str, Any]


def allowed(studies: int) -> float:
    """Return the share of studies that may err: 5 % and two of its sampling errors."""
    return 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)


def coverage(studies: int) -> Iterator[Row]:
    """Coverage of the interval of one method's accuracy, and its width."""
    for accuracy, n, seeds, part in product((0.86, 0.95, 0.99), (50, 150, 500, 3080), (2, 3, 5, 10), (0.02, 0.1)):
        deviation = part * (1 - accuracy)
        setting = Setting(f"accuracy {accuracy:.0%}, {deviation:.2%}", Design(n), of(1, deviation, seeds, accuracy))
        found = [interval(cells[0], scale=scale_of("accuracy")) for cells, _ in setting.studies(studies)]
        share = float(np.mean([each.low <= accuracy <= each.high for each in found]))
        width = float(np.mean([each.high - each.low for each in found]))
        exact = n >= 500 and seeds >= 3 and n * (1 - accuracy) >= 20
        yield _row(
            setting, covered=share, width=width, ok=share >= COVERED[0] - 0.013 and (share <= 0.985 or not exact)
        )


def clusters(studies: int) -> Iterator[Row]:
    """Coverage where rows belong together."""
    for cluster, rows, seeds in product((2, 5), (500, 3000), (1, 3)):
        design = Design(rows, cluster=cluster)
        setting = Setting(f"clusters of {cluster}", design, of(1, 0.003 if seeds > 1 else 0.0, seeds))
        covered = {True: 0, False: 0}
        for (cells, _), known in product(setting.studies(studies), covered):
            found = interval(cells[0], scale=scale_of("accuracy"), groups=design.groups if known else None)
            covered[known] += found.low <= ACCURACY <= found.high
        low, high = COVERED
        share = covered[True] / studies
        yield _row(setting, covered=share, unknown=covered[False] / studies, ok=low - 0.01 <= share <= high + 0.01)


def errors(setting: Setting, verdicts: list[tuple[Verdict, ...]]) -> tuple[float, float]:
    """Share of studies with a wrong better or worse, and with a wrong not worse."""
    accuracies = [method.accuracy for method in setting.methods]
    best = max(accuracies)
    wrong = {
        "better": [accuracy < best or accuracies.count(best) > 1 for accuracy in accuracies],
        "worse": [accuracy == best for accuracy in accuracies],
        "not worse": [accuracy < best - setting.margin + 1e-9 for accuracy in accuracies],
    }
    differs, lies = [], []
    for study in verdicts:
        words = {each.word for k, each in enumerate(study) if each.word in wrong and wrong[each.word][k]}
        differs.append(bool(words & {"better", "worse"}))
        lies.append("not worse" in words)
    return float(np.mean(differs)), float(np.mean(lies))


def familywise(studies: int) -> Iterator[Row]:
    """Wrong better or worse of equal methods."""
    for setting in equal_methods():
        found = [compare(cells, setting.margin).verdicts for cells, _ in setting.studies(studies)]
        gap = float(np.mean([np.median([each.detectable for each in study]) for study in found]))
        wrong, _ = errors(setting, found)
        yield _row(setting, wrong=wrong, detectable=gap, ok=wrong <= allowed(studies) or not setting.claimed)


def not_worse(studies: int) -> Iterator[Row]:
    """Wrong not worse at the least favorable point."""
    for setting in least_favorable():
        found = [compare(cells, setting.margin).verdicts for cells, _ in setting.studies(studies)]
        _, wrong = errors(setting, found)
        yield _row(setting, wrong=wrong, ok=wrong <= allowed(studies) or not setting.claimed)


def replicates(studies: int) -> Iterator[Row]:
    """Wrong better or worse of equal methods, with replicates known and unknown."""
    for setting in replicated():
        paired = bool(setting.design.common)
        known, unknown = [], []
        for cells, labels in setting.studies(studies):
            known.append(compare(cells, MARGIN, replicates=labels, paired=paired).verdicts)
            unknown.append(compare(cells, MARGIN).verdicts)
        wrong, _ = errors(setting, known)
        gap = float(np.mean([np.median([each.detectable for each in study]) for study in known]))
        ok = wrong <= allowed(studies)
        yield _row(setting, wrong=wrong, unknown=errors(setting, unknown)[0], detectable=gap, ok=ok)


def adaptive(studies: int) -> Iterator[Row]:
    """Errors when seeds are added at planned looks until the verdicts are reached, and the runs that this takes."""
    most = PLAN[-1]
    default = (*of(2, 0.0, most), *of(1, 0.003, most), *of(1, 0.02, most))
    halves = (*of(5, 0.003, most), *of(5, 0.003, most, ACCURACY - MARGIN))
    best = (*of(1, 0.013, most, ACCURACY + 0.02), *of(4, 0.013, most))
    for setting in (
        Setting("10 of 0.3%", Design(500), of(10, 0.003, most)),
        Setting("10 of 1.3%", Design(1500), of(10, 0.013, most)),
        Setting("10 of 1.3%", Design(3080), of(10, 0.013, most)),
        Setting("5 of 0.3%, 5 a margin below", Design(3080), halves),
        Setting("one best by 2 points, 4 others, 1.3%", Design(1500), best),
        Setting("default study: 2 deterministic, 0.3%, 2.0%", Design(3080), default),
    ):
        found = [sequential(cells, PLAN, MARGIN) for cells, _ in setting.studies(studies)]
        wrong, false = errors(setting, [each.verdicts for each in found])
        words = [verdict.word for each in found for verdict in each.verdicts]
        shares = {word.replace(" ", "_"): float(np.mean([each == word for each in words])) for word in set(words)}
        runs = float(np.mean([sum(each.looks[-1].seeds) for each in found]))
        yield _row(
            setting, wrong=wrong, wrong_not_worse=false, **shares, runs=runs, ok=max(wrong, false) <= allowed(studies)
        )


def power(studies: int) -> Iterator[Row]:
    """How often a method that is 2 points worse is called so, and one of the best not worse."""
    for setting in powers():
        found = [compare(cells, MARGIN).verdicts for cells, _ in setting.studies(max(studies // 4, 1))]
        worse = float(np.mean([each.word == "worse" for study in found for each in study[5:9]]))
        kept = float(np.mean([each.word in ("not worse", "better") for study in found for each in study[:5]]))
        yield _row(setting, found_worse=worse, found_not_worse=kept, ok=True)


def metrics(studies: int) -> Iterator[Row]:
    """Coverage of metrics that are no mean over rows, where they have an interval."""
    for task, n, metric in product(TASKS, (50, 150, 500, 1500), ("macro_f1", "mcc", "auroc", "ece", "loss")):
        if metric == "auroc" and len(TASKS[task].shares) > 2:
            continue
        true, covered, denied = truth(task, metric), [], 0
        for labels, probabilities in metric_studies(task, n, 3, max(studies // 4, 1)):
            classes = np.unique(labels, return_counts=True)[1]
            if metric == "auroc" and len(classes) < 2:
                continue
            rows = METRICS[metric].informative_rows(classes)
            found = interval(scores(metric, labels, probabilities), 0.95, scale_of(metric), rows)
            covered.append(found.low <= true <= found.high)
            denied += METRICS[metric].no_interval(classes) is not None
        share, none = float(np.mean(covered)), denied / len(covered)
        setting = Setting(f"{metric}, {task}", Design(n), of(1, 0.0))
        yield _row(setting, covered=share, no_interval=none, ok=share >= COVERED[0] - 0.03 or none > 0.5)


def tagging(studies: int) -> Iterator[Row]:
    """Coverage of entity metrics, whose rows are sentences with any number of entities."""
    return _ratios(tags, tags.RATIOS, studies)


def speech(studies: int) -> Iterator[Row]:
    """Coverage of error rates, whose rows are utterances of any length."""
    return _ratios(utterances, ("wer",), studies)


def _ratios(family: Any, metrics_: Iterable[str], studies: int) -> Iterator[Row]:
    for task, n, metric in product(family.TASKS, (50, 150, 500, 1500), metrics_):
        true, covered = family.truth(task, metric), []
        for runs in family.studies(task, n, 3, studies):
            scores = np.stack([rows for _, rows in family.scores(metric, runs)])
            found = interval(scores, 0.95, scale_of(metric), n)
            covered.append(found.low <= true <= found.high)
        share = float(np.mean(covered))
        yield _row(Setting(f"{metric}, {task}", Design(n), of(1, 0.0)), covered=share, ok=share >= COVERED[0] - 0.02)


def answers(studies: int) -> Iterator[Row]:
    """Whether the choice is as probably near the best, and loses as much, as it is said to."""
    for n, count, spread, deviation in product((500, 3080), (3, 10, 30), (0.0, 0.005, 0.02), (0.003, 0.013)):
        said, lost, within, near = [], [], [], []
        for i in range(max(studies // 10, 1)):
            rng = np.random.default_rng((i, n, count, int(spread * 1e4)))
            accuracies = ACCURACY + spread * rng.normal(size=count)
            cells, _ = draw(rng, Design(n), [Method(float(each), deviation) for each in accuracies])
            found = choose(cells, MARGIN)
            behind = float(accuracies.max() - accuracies[found.cell])
            said.append(found.regret[found.cell])
            lost.append(behind)
            within.append(found.within[found.cell])
            near.append(behind < MARGIN)
        setting = Setting(f"{count} methods that scatter by {spread:.1%}, {deviation:.1%}", Design(n), of(1, deviation))
        values = (float(np.mean(each)) for each in (said, lost, within, near))
        row = dict(zip(("regret", "true_regret", "within", "truly_within"), values, strict=True))
        yield _row(setting, **row, ok=row["true_regret"] < row["regret"] + 0.003)


def _row(setting: Setting, ok: bool, **values: float) -> Row:
    rounded = {key: round(value, 4) for key, value in values.items()}
    return {"setting": setting.name, "examples": setting.design.n, "seeds": setting.seeds, **rounded, "ok": ok}


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "coverage": coverage,
    "clusters": clusters,
    "familywise": familywise,
    "not_worse": not_worse,
    "replicates": replicates,
    "adaptive": adaptive,
    "power": power,
    "metrics": metrics,
    "tagging": tagging,
    "speech": speech,
    "answers": answers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="a setting")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated")
    parser.add_argument("--json", type=Path, help="results; parts that are not asked for keep theirs")
    arguments = parser.parse_args()
    good = True
    for name in arguments.only or PARTS:
        started, rows = time.perf_counter(), []
        for row in PARTS[name](arguments.studies):
            rows.append(row)
            good &= row["ok"]
            print(f"{name:10} {_line(row)}{'' if row['ok'] else '  FAILS'}", flush=True)
            if arguments.json:
                _save(arguments.json, name, arguments.studies, rows)
        print(f"{name}: {time.perf_counter() - started:.0f} s")
    if not good:
        sys.exit("Some shares are outside what is wanted.")


def _line(row: Row) -> str:
    values = "  ".join(
        f"{key} {value:.1f}" if key == "runs" else f"{key} {value:.1%}"
        for key, value in row.items()
        if isinstance(value, float)
    )
    return f"{row['setting']:46} n {row['examples']:<5} seeds {row['seeds']:10} {values}"


def _save(path: Path, name: str, studies: int, rows: list[Row]) -> None:
    """Write the rows of a part into the file, which keeps those of the others."""
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    hardware = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    parts[name] = {"studies": studies, "hardware": hardware, "rows": rows}
    texts = []
    for part in (each for each in PARTS if each in parts):
        head = json.dumps({key: value for key, value in parts[part].items() if key != "rows"}).removesuffix("}")
        lines = ",\n   ".join(json.dumps(row) for row in parts[part]["rows"])  # a line a setting
        texts.append(f'"{part}": {head}, "rows": [\n   {lines}]}}')
    path.write_text('{"name": "statistics", "parts": {\n  ' + ",\n  ".join(texts) + "}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
