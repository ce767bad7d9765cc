"""What only reports of detection have: precision by class, images with boxes, the model that finds nothing."""

from harness.report.family_report import FamilyReport
from harness.tasks.object_detection.report.baseline import baseline
from harness.tasks.object_detection.report.by_class import precision_by_class
from harness.tasks.object_detection.report.hard_images import hard_images

REPORT = FamilyReport(figures={"classes": precision_by_class}, hard_rows=hard_images, baseline=baseline)
