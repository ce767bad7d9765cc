"""Images for prediction: those of a folder, or a table with a column of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.images import check_images
from harness.data.readers.file_formats import Table
from harness.tasks.file_rows import files_to_predict
from harness.tasks.image_classification.sources import IMAGES


def read_images(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[str]]]:
    """Return the columns of the output, and the paths of the images; see `files_to_predict`."""
    return files_to_predict(file, columns, how, IMAGES, check_images, "image")


def example_image(facts: Mapping[str, Any]) -> str:
    """Return the path of an image; see `harness.api.family.TaskFamily.example`."""
    return "['photo.jpg']"
