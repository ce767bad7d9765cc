"""Report definitions, reports/*.yaml: what a report shows, in which order, and with which settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError, Problems, nearest
from harness.records.files import load_yaml
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.settings import Settings
from harness.report.reading.study import Study
from harness.report.tables.columns import FIELDS, Column, TableRow, extra_names, field_of
from harness.report.tables.filters import ORDER, Condition
from harness.report.tables.report import Pivot

KEYS = ("title", "studies", "rows", "columns", "sort", "pivot", "settings")
_DEFAULTS = asdict(Settings())


@dataclass(frozen=True)
class Definition:
    """What a report shows; the defaults show everything.

    Attributes:
        title: of the page; None joins the studies' names.
        studies: their directories, if the command names none.
        rows: conditions, all of which must hold.
        columns: names of columns; () chooses them by what the rows contain.
        sort: names of columns, the primary one first; a minus before a name sorts from large to small.
        pivot: an additional table.
        settings: report settings, by the names of `Settings`; missing ones are taken from the study.
        source: the file it came from, for messages.
    """

    title: str | None = None
    studies: tuple[str, ...] = ()
    rows: tuple[Condition, ...] = ()
    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    pivot: Pivot | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = "the report's definition"

    def compared(self, rows: Sequence[CellSummary]) -> list[CellSummary]:
        """Choose the rows that are compared: those that meet the conditions on what the study requested.

        Conditions on outcomes hide rows later: leaving out poor results would overstate the certainty of the rest.

        Raises:
            HarnessError: no row has a named column, an order is applied to text, or no row is left; all problems at
                once.
        """
        self._check(rows)
        design = [(condition, known) for condition, known in self._conditions(rows) if not known.outcome]
        kept = [row for row in rows if all(condition.holds(_design(row, known)) for condition, known in design)]
        if rows and not kept:
            said = " and ".join(f"{each.name} {each.sign} {each.value}" for each, _ in design)
            raise HarnessError(f"{self.source}: no row meets `{said}`, of {len(rows)}. Loosen rows.")
        return kept

    def shown(self, cases: Sequence[TableRow]) -> list[TableRow]:
        """Choose and sort the rows that are shown.

        Raises:
            HarnessError: no row is left.
        """
        rows = [case.row for case in cases]
        outcomes = [(condition, known) for condition, known in self._conditions(rows) if known.outcome]
        kept = [case for case in cases if all(condition.holds(known.value(case)) for condition, known in outcomes)]
        if cases and not kept:
            said = " and ".join(f"{each.name} {each.sign} {each.value}" for each, _ in outcomes)
            raise HarnessError(f"{self.source}: no row meets `{said}`, of {len(cases)}. Loosen rows.")
        for name in reversed(self.sort):
            known = field_of(name.removeprefix("-"), rows)
            if known is not None:
                kept = _sorted(kept, known, falling=name.startswith("-"))
        return kept

    def _conditions(self, rows: Sequence[CellSummary]) -> list[tuple[Condition, Column]]:
        found = ((condition, field_of(condition.name, rows)) for condition in self.rows)
        return [(condition, known) for condition, known in found if known is not None]

    def _check(self, rows: Sequence[CellSummary]) -> None:
        problems = Problems()
        named = [("rows", each.name) for each in self.rows] + [("columns", name) for name in self.columns]
        named += [("sort", name.removeprefix("-")) for name in self.sort]
        if self.pivot is not None:
            named += [(f"pivot.{key}", getattr(self.pivot, key)) for key in ("rows", "columns", "value")]
        for key, name in named:
            if field_of(name, rows) is None:
                problems.add(f"{self.source}: {key} names {name}, which no row has. {_alternatives(name, rows)}")
        for condition, _ in self._conditions(rows):
            number = isinstance(condition.value, int | float)
            if condition.sign in ORDER and not (number and _numeric(condition.name, rows)):
                problems.add(
                    f"{self.source}: rows orders {condition.name} with {condition.sign} {condition.value}, but order "
                    "is for numbers. Use ==, in or like."
                )
        problems.raise_any()


def read_definition(path: Path) -> Definition:
    """Read a definition.

    Args:
        path: a YAML file; a name such as `pivot` or `reports/pivot.yaml` also finds those shipped with the program.

    Raises:
        HarnessError: the file does not exist, or all problems in it at once.
    """
    path = _find(path)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise HarnessError(f"{path} cannot be read as a report definition ({reason}).") from error
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise HarnessError(f"{path} must hold keys, of {', '.join(KEYS)}; see reports/default.yaml.")
    problems = Problems()
    for key in content:
        problems.check(key in KEYS, f"{path}: {key} is no key of a report definition. {nearest(str(key), KEYS)}")
    conditions = []
    for text in _texts(content, "rows", path, problems):
        try:
            conditions.append(Condition.parse(text))
        except HarnessError as error:
            problems.add(f"{path}: {error}")
    made = Definition(
        title=None if content.get("title") is None else str(content["title"]),
        studies=_texts(content, "studies", path, problems),
        rows=tuple(conditions),
        columns=_texts(content, "columns", path, problems),
        sort=_texts(content, "sort", path, problems),
        pivot=_pivot(content.get("pivot"), path, problems),
        settings=_settings(content.get("settings"), path, problems),
        source=str(path),
    )
    problems.raise_any()
    return made


def judged_by(study: Study, definition: Definition) -> Settings:
    """Return the settings of a report: those of the definition, else those of the study, else defaults.

    Raises:
        HarnessError: a value breaks its rule.
    """
    asked = study.sweep.get("report")
    of_study = asked if isinstance(asked, Mapping) else {}
    known = {key: of_study[key] for key in _DEFAULTS if key in of_study and _fits(of_study[key], _DEFAULTS[key])}
    settings = Settings(**{**known, **definition.settings})
    settings.check({cell.metric for cell in study.cells})
    return settings


def _alternatives(name: str, rows: Sequence[CellSummary]) -> str:
    """Suggest similar names, else name the axes of these rows; the names of all columns would fill a page."""
    own = extra_names(rows)
    close = difflib.get_close_matches(name, [*FIELDS, *own], n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    axes = [key for key in own if any(key in row.cell.variant for row in rows)]
    said = f"The axes of these rows: {', '.join(axes)}" if axes else "These rows have no axes"
    return f"{said}; all other names are those of table.csv (docs/files.md)."


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    package = Path(__file__).resolve().parents[2]
    shipped = [place for root in (package, package.parent) for place in sorted((root / "reports").glob("*.yaml"))]
    for place in shipped:
        if place.stem == path.stem and str(path.parent) in (".", "reports") and path.suffix in ("", ".yaml"):
            return place
    raise HarnessError(
        f"There is no report definition {path}. Those that come with the program: "
        f"{nearest(path.stem, dict.fromkeys(place.stem for place in shipped))}"
    )


def _texts(content: Mapping[Any, Any], key: str, path: Path, problems: Problems) -> tuple[str, ...]:
    """Read a text or a list of texts."""
    value = content.get(key)
    several = [] if value is None else value if isinstance(value, list) else [value]
    good = [str(each) for each in several if isinstance(each, str | int | float) and not isinstance(each, bool)]
    problems.check(len(good) == len(several), f"{path}: {key} must be a text or a list of texts, not {value!r}.")
    return tuple(good)


def _pivot(content: Any, path: Path, problems: Problems) -> Pivot | None:
    if content is None:
        return None
    names = [each.name for each in fields(Pivot)]
    if not isinstance(content, Mapping):
        problems.add(f"{path}: pivot must hold {', '.join(names)}, not {content!r}.")
        return None
    for key in content:
        problems.check(key in names, f"{path}: pivot.{key} is unknown. {nearest(str(key), names)}")
    for key in ("rows", "columns"):
        problems.check(bool(content.get(key)), f"{path}: pivot.{key} must name a field.")
    return Pivot(**{name: str(content[name]) for name in names if content.get(name)}) if not problems.messages else None


def _settings(content: Any, path: Path, problems: Problems) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        problems.add(f"{path}: settings must hold keys, not {content!r}.")
        return {}
    good = {}
    for key, value in content.items():
        if key not in _DEFAULTS:
            problems.add(f"{path}: settings.{key} is unknown. {nearest(str(key), _DEFAULTS)}")
        elif _fits(value, _DEFAULTS[key]):
            good[str(key)] = value
        else:
            problems.add(f"{path}: settings.{key} must be like {_DEFAULTS[key]!r}, not {value!r}.")
    try:
        Settings(**good).check({"loss"})  # the metric is unknown here, so a margin may be 1 or more
    except HarnessError as error:
        for message in error.problems:
            problems.add(f"{path}: settings: {message}")
    return good


def _fits(value: Any, default: Any) -> bool:
    """Return whether a value has the type of a setting's default."""
    if isinstance(default, bool | str):
        return type(value) is type(default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (value is None and default is None)


def _design(row: CellSummary, known: Column) -> Any:
    """Return a column's value for a row that has not been compared yet."""
    return known.value(TableRow.unjudged(row))


def _numeric(name: str, rows: Sequence[CellSummary]) -> bool:
    known = field_of(name, rows)
    return known is not None and known.numeric


def _sorted(cases: Sequence[TableRow], known: Column, falling: bool) -> list[TableRow]:
    """Sort by a column; unknown values come last in either direction."""
    with_value = [case for case in cases if known.value(case) is not None]
    numbers = all(isinstance(known.value(case), int | float) for case in with_value)
    with_value.sort(key=lambda case: known.value(case) if numbers else str(known.value(case)), reverse=falling)
    return [*with_value, *(case for case in cases if known.value(case) is None)]
