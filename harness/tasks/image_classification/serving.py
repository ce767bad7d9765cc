"""Images for prediction: those of a folder, or a table with a column of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.images import FileImage, check_images
from harness.data.readers.file_formats import Table
from harness.data.readers.whole_table import read_texts
from harness.errors import HarnessError
from harness.formatting.examples import several
from harness.tasks.image_classification.sources import IMAGES
from harness.tasks.labeled_files import files_below


def read_images(file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[str]]]:
    """Return the columns of the output, and the paths of the images.

    Args:
        file: a folder, an image, or a table.
        columns: of a table, the column of paths, relative to the table's folder.
        how: fields of `FileFormat`.

    Raises:
        HarnessError: an image cannot be read; names the first three.
    """
    if file.is_dir():
        found, _ = files_below(file, IMAGES)
        if not found:
            raise HarnessError(f"{file} has no images in it or in its folders.")
        table = Table(["image"], [[str(path.relative_to(file)) for path in found]])
    elif FileImage(file).path.suffix.lower() in _suffixes():
        table, found = Table(["image"], [[str(file)]]), [file]
    else:
        table, texts = read_texts(file, columns, how)
        found = [file.parent / text for text in texts[0]]
    checked = check_images([FileImage(path) for path in found])
    if checked.bad:
        shown = [f"{found[row]} ({why})" for row, why in checked.bad.items()]
        raise HarnessError(
            f"{file}: {len(shown)} of {len(found)} images cannot be read: {several(shown)}. Mend or remove them."
        )
    return table, [[str(path) for path in found]]


def example_image(facts: Mapping[str, Any]) -> str:
    """Return the path of an image; see `harness.api.family.TaskFamily.example`."""
    return "['photo.jpg']"


def _suffixes() -> tuple[str, ...]:
    from harness.data.images import SUFFIXES

    return SUFFIXES
