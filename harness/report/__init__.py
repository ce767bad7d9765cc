"""Reports of studies: table, figures and page. Imports no torch."""

from harness.report.cells.cell_summary import CellSummary, rows
from harness.report.reading.dataframe import records
from harness.report.reading.study import Study, load
from harness.report.tables.report import Report
from harness.report.tables.terminal import text_table
from harness.report.write import write

__all__ = ["Report", "write", "text_table", "CellSummary", "rows", "Study", "load", "records"]
