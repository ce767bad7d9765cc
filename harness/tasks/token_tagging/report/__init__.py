"""What only reports of tagging have: results by type, kinds of errors, hard sentences, the model that finds nothing."""

from harness.report.family_report import FamilyReport
from harness.tasks.token_tagging.report.baseline import baseline
from harness.tasks.token_tagging.report.errors_by_type import errors_by_type
from harness.tasks.token_tagging.report.hard_rows import hard_rows

REPORT = FamilyReport(figures={"types": errors_by_type}, hard_rows=hard_rows, baseline=baseline)
