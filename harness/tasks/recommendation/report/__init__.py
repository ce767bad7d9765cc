"""What only reports of recommendation have: hits by popularity of items, users whose next item was ranked low."""

from harness.report.family_report import FamilyReport
from harness.tasks.recommendation.report.hard_rows import hard_rows
from harness.tasks.recommendation.report.popularity import hits_by_popularity

REPORT = FamilyReport(figures={"popularity": hits_by_popularity}, hard_rows=hard_rows)
