"""What a file of sounds is, for the readers that sounds share with images."""

from __future__ import annotations

from harness.data.sounds import SUFFIXES, BytesSound, FileSound
from harness.tasks.labeled_files import Medium

SOUNDS = Medium("sound", SUFFIXES, FileSound, BytesSound)
