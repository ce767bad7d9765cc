"""What only reports of classification have: confusions, abstention, the rows missed most, the most frequent class."""

from harness.report.family_report import FamilyReport
from harness.tasks.text_classification.report.baseline import baseline
from harness.tasks.text_classification.report.confusion import confusion
from harness.tasks.text_classification.report.hard_rows import hard_rows
from harness.tasks.text_classification.report.risk_coverage import abstention
from harness.tasks.text_classification.report.scope_detectors import scope_detectors
from harness.tasks.text_classification.report.stored_scores import stored_scores

REPORT = FamilyReport(
    figures={"confusion": confusion, "abstention": abstention, "scope": scope_detectors},
    hard_rows=hard_rows,
    stored_scores=stored_scores,
    baseline=baseline,
)
