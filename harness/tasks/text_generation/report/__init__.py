"""What only reports of text generation have: samples side by side, lengths of outputs, and what was forgotten."""

from harness.report.family_report import FamilyReport
from harness.tasks.text_generation.report.forgetting import forgetting
from harness.tasks.text_generation.report.outputs import lengths
from harness.tasks.text_generation.report.samples import samples

REPORT = FamilyReport(figures={"forgetting": forgetting, "lengths": lengths}, hard_rows=samples)
