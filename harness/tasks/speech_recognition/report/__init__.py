"""What only reports of speech recognition have: the worst utterances with alignment, the model that writes nothing."""

from harness.report.family_report import FamilyReport
from harness.tasks.speech_recognition.report.baseline import baseline
from harness.tasks.speech_recognition.report.hard_rows import hard_rows

REPORT = FamilyReport(figures={}, hard_rows=hard_rows, baseline=baseline)
