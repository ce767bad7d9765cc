"""Write the results of tests/benchmarks/statistics into the tables of docs/statistics.md.

    python -m tests.benchmarks.statistics_tables

A table stands below the comment that names it, such as <!-- coverage -->, and is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests/benchmarks/results/statistics.json"
PAGE = ROOT / "docs/statistics.md"
Row = dict[str, Any]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _table(rows: Sequence[Row], columns: dict[str, str], texts: dict[str, Callable[[float], str]] | None = None) -> str:
    """Write rows as Markdown; columns by key, with their headings; numbers in percent unless a text is given."""
    lines = [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = []
        for key in columns:
            value = row.get(key, "")
            write = (texts or {}).get(key, _percent)
            cells.append(
                write(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _coverage(rows: Sequence[Row]) -> str:
    """One line per accuracy and number of rows; the range over seed deviations by number of seeds."""
    seeds = list(dict.fromkeys(row["seeds"] for row in rows))
    cases: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for row in rows:
        key = row["setting"].split(",")[0].removeprefix("accuracy "), row["examples"]
        cases.setdefault(key, {}).setdefault(row["seeds"], []).append(row)
    lines = [
        f"| accuracy | rows | {' | '.join(f'{each} seeds' for each in seeds)} | width |",
        "|---" * (len(seeds) + 3) + "|",
    ]
    for (accuracy, examples), found in cases.items():
        spans = [sorted(row["covered"] for row in found[each]) for each in seeds]
        texts = [f"{100 * span[0]:.0f} to {100 * span[-1]:.0f}" for span in spans]
        widths = [sum(row["width"] for row in found[each]) / len(found[each]) for each in seeds]
        lines.append(
            f"| {accuracy} | {examples:,} | {' | '.join(texts)} | {' / '.join(_percent(width) for width in widths)} |"
        )
    return "\n".join(lines) + "\n"


def tables(parts: dict[str, Any]) -> dict[str, str]:
    """Return the table of each part that has results."""
    setting = {"setting": "setting", "examples": "rows", "seeds": "seeds"}
    columns = {
        "clusters": {"covered": "covered", "unknown": "without groups"},
        "metrics": {"covered": "covered", "no_interval": "of studies without"},
        "familywise": {"wrong": 'wrong "better" or "worse"', "detectable": "gap detectable"},
        "not_worse": {"wrong": 'wrong "not worse"'},
        "replicates": {"wrong": "wrong, replicates known", "unknown": "wrong, unknown", "detectable": "gap detectable"},
        "adaptive": {
            "wrong": "wrong",
            "wrong_not_worse": 'wrong "not worse"',
            "unresolved": "unresolved",
            "runs": "runs",
        },
        "power": {"found_worse": 'found "worse"', "found_not_worse": 'found "not worse"'},
        "answers": {
            "regret": "regret said",
            "true_regret": "true",
            "within": "within the margin, said",
            "truly_within": "true",
        },
    }
    found = {
        name: _table(parts[name]["rows"], setting | columns[name], {"runs": "{:.1f}".format})
        for name in columns
        if name in parts
    }
    if "coverage" in parts:
        found["coverage"] = _coverage(parts["coverage"]["rows"])
    return found


def main() -> None:
    parts = json.loads(RESULTS.read_text(encoding="utf-8"))["parts"]
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables(parts).items():
        page = re.sub(rf"(<!-- {name} -->\n\n)(\|.*\n)*\n?", lambda found, new=table: found[1] + new + "\n", page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
