"""A query over records, rendered: the table, the figures and the page of a study. Imports no torch."""

from harness.report.load import Study, load
from harness.report.query import records
from harness.report.report import Report
from harness.report.rows import Row, rows
from harness.report.terminal import text_table
from harness.report.write import write

__all__ = ["Report", "write", "text_table", "Row", "rows", "Study", "load", "records"]
