"""Objects cut out along the boxes of a detection data set in VOC XML; a class is that of the box.

Objects of one photograph stay in one split: they share light, stain and focus, so a model could know them by these.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.data.images import FileImage
from harness.data.readers.file_formats import expanded
from harness.data.readers.rows import data_folder
from harness.data.readers.voc import read_annotation, split_lists
from harness.data.text_values import check_text
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.tasks.image_classification.settings import ImageTask
from harness.tasks.image_classification.sources import ImageTable


@dataclass(kw_only=True)
class CroppedObjects(ImageTask):
    """Images within a folder of Pascal VOC's form: Annotations, JPEGImages, ImageSets/Main.

    Boxes of less than `smallest` pixels a side are left out and told; those beyond the image are cut at its edge.
    """

    path: str | None = None  # the folder with Annotations and JPEGImages
    folder: str | None = None  # of $HARNESS_DATA, used without a path
    smallest: int = 8  # least side of a box in pixels

    def least_values(self) -> dict[str, int]:
        """Return the smallest value of each whole number."""
        return super().least_values() | {"smallest": 1}

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key in ("path", "folder"):
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)

    def tables(self) -> tuple[dict[str, ImageTable], str]:
        """Cut the objects out of the images of each split; without lists of splits, of all of them."""
        folder = expanded(self.path) if self.path else data_folder(self.folder)
        if folder is None:
            raise HarnessError(
                f"The data of task {self.name} are not here. Set HARNESS_DATA to a folder that holds {self.folder}, or "
                "name the folder with Annotations and JPEGImages: task.path=FOLDER."
            )
        if not (folder / "Annotations").is_dir() or not (folder / "JPEGImages").is_dir():
            raise HarnessError(f"{folder} needs the folders Annotations (VOC XML) and JPEGImages.")
        names = split_lists(folder)
        return {split: self._split(folder, split, listed_) for split, listed_ in names.items()}, folder.name

    def _split(self, folder: Path, split: str, names: list[str]) -> ImageTable:
        table, small, cut, problems = ImageTable([], [], []), 0, 0, list[str]()
        for name in names:
            try:
                annotated = read_annotation(folder, name)
            except HarnessError as error:
                problems.extend(error.problems)
                continue
            for number, each in enumerate(annotated.objects):
                left, top, right, bottom = (round(side) for side in each.box)
                width, height = annotated.size or (right, bottom)
                box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
                if min(box[2] - box[0], box[3] - box[1]) < self.smallest:
                    small += 1
                    continue
                cut += box != (left, top, right, bottom)
                table.sources.append(FileImage(annotated.path, box))
                table.names.append(f"{annotated.path.name} ({number + 1})")
                table.labels.append(each.label)
                table.groups.append(name)
        if problems:
            raise HarnessError(
                f"{len(problems)} of {len(names)} {split} annotations of task {self.name} cannot be used: "
                f"{several(problems)}. Mend them, or take them out of ImageSets/Main."
            )
        if small:
            table.notes.append(f"{small} {split} boxes of less than {self.smallest} pixels a side were left out.")
        if cut:
            table.notes.append(f"{cut} {split} boxes that reach beyond their image were cut at its edge.")
        return table
