"""Content of a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.report.analysis.verdicts import Evidence
from harness.report.cells.cell_summary import CellSummary
from harness.report.cells.settings import Settings
from harness.report.reading.study import Study
from harness.report.tables.columns import TableRow


@dataclass(frozen=True)
class Pivot:
    """A table of one value, by two columns.

    Attributes:
        rows, columns, value: names of columns.
    """

    rows: str
    columns: str
    value: str = "test_mean"


@dataclass(frozen=True)
class Report:
    """Results of a study, what is shown of them, and where they are written.

    Attributes:
        study: as loaded; its `warnings` say what could not be read.
        studies: the studies that it was merged from.
        rows: one summary per cell, in the order of the tables.
        summary: the findings, in sentences.
        output: the directory that holds index.html, table.md, table.csv, table.tex and figures/.
        evidence: intervals, verdicts and recommendations.
        cases: table rows: the summaries with their statistical results.
        columns: names of the columns to show; () chooses them by what the rows contain.
        pivot: an additional table; None for none.
        hidden: number of rows that were compared but are not shown.
        drift: changes since an earlier study, in sentences.
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
        """Path of the page."""
        return self.output / "index.html"

    @property
    def settings(self) -> Settings:
        """Settings of the comparison."""
        return self.evidence.settings
