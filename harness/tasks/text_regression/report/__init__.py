"""What only reports of regression have: predictions against numbers, the rows with the largest errors, the mean."""

from harness.report.family_report import FamilyReport
from harness.tasks.text_regression.report.baseline import baseline
from harness.tasks.text_regression.report.hard_rows import hard_rows
from harness.tasks.text_regression.report.residuals import residuals

REPORT = FamilyReport(figures={"residuals": residuals}, hard_rows=hard_rows, baseline=baseline)
