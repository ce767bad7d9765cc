"""What only reports of audio classification have: players of the sounds that are missed most."""

from dataclasses import replace

from harness.tasks.audio_classification.report.hard_sounds import hard_sounds
from harness.tasks.text_classification.report import REPORT as OF_CLASSES

REPORT = replace(OF_CLASSES, hard_rows=hard_sounds, stored_scores=None)
