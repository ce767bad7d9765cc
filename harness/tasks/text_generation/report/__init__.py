"""What only reports of text generation have: samples side by side."""

from harness.report.family_report import FamilyReport
from harness.tasks.text_generation.report.samples import samples

REPORT = FamilyReport(figures={}, hard_rows=samples)
