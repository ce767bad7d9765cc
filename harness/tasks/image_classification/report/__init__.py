"""What only reports of image classification have: thumbnails of the images that are missed most."""

from dataclasses import replace

from harness.tasks.image_classification.report.hard_images import hard_images
from harness.tasks.text_classification.report import REPORT as OF_CLASSES

REPORT = replace(OF_CLASSES, hard_rows=hard_images, stored_scores=None)
