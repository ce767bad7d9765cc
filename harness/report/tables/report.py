"""What is shown of a study, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.report.analysis.cell_summary import CellSummary
from harness.report.analysis.settings import Settings
from harness.report.analysis.verdicts import Evidence
from harness.report.reading.study import Study
from harness.report.tables.columns import TableRow


@dataclass(frozen=True)
class Pivot:
    """A table of one value, by two fields.

    Attributes:
        rows, columns, value: names of fields.
    """

    rows: str
    columns: str
    value: str = "test_mean"


@dataclass(frozen=True)
class Report:
    """What a study has found so far, what is shown of it, and where it is written.

    Attributes:
        study: as loaded; its `warnings` say what could not be read.
        studies: the studies that it was put together from.
        rows: a row per cell, in the order of the tables.
        summary: what was found, in sentences.
        output: the directory that holds index.html, table.md, table.csv, table.tex and figures/.
        evidence: intervals, verdicts and recommendations.
        cases: the rows, each with what is known of it.
        columns: names of the fields to show; () chooses them by what the rows hold.
        pivot: a second table; None for none.
        hidden: rows that were compared and are not shown.
        drift: what moved against an earlier study, in sentences.
    """

    study: Study
    studies: list[Study]
    rows: list[CellSummary]
    summary: list[str]
    output: Path
    evidence: Evidence
    cases: list[TableRow]
    columns: tuple[str, ...] = ()
    pivot: Pivot | None = None
    hidden: int = 0
    drift: list[str] = field(default_factory=list)

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.output / "index.html"

    @property
    def settings(self) -> Settings:
        """How it was judged."""
        return self.evidence.settings
