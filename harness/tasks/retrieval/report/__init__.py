"""What only reports of retrieval have: queries whose passage was ranked lowest, with what was found instead."""

from harness.report.family_report import FamilyReport
from harness.tasks.retrieval.report.hard_rows import hard_rows

REPORT = FamilyReport(figures={}, hard_rows=hard_rows)
