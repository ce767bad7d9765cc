"""Objects cut out along the boxes of a detection data set in VOC XML; a class is that of the box.

Objects of one photograph stay in one split: they share light, stain and focus, so a model could know them by these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from harness.data.images import FileImage
from harness.data.readers.file_formats import expanded
from harness.data.readers.rows import SPLITS, data_folder
from harness.data.text_values import check_text
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.tasks.image_classification.settings import ImageTask
from harness.tasks.image_classification.sources import ImageTable

LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
Box = tuple[int, int, int, int]


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
        lists = {split: folder / "ImageSets" / "Main" / name for split, name in LISTS.items()}
        if lists["train"].is_file():
            names = {split: lists[split].read_text("utf-8").split() for split in SPLITS if lists[split].is_file()}
        else:
            names = {"train": sorted(file.stem for file in (folder / "Annotations").glob("*.xml"))}
        return {split: self._split(folder, split, listed_) for split, listed_ in names.items()}, folder.name

    def _split(self, folder: Path, split: str, names: list[str]) -> ImageTable:
        table, small, cut, problems = ImageTable([], [], []), 0, 0, list[str]()
        for name in names:
            try:
                image, found = _boxes(folder, name)
            except HarnessError as error:
                problems.extend(error.problems)
                continue
            for number, (label, box, whole) in enumerate(found):
                if min(box[2] - box[0], box[3] - box[1]) < self.smallest:
                    small += 1
                    continue
                cut += not whole
                table.sources.append(FileImage(image, box))
                table.names.append(f"{image.name} ({number + 1})")
                table.labels.append(label)
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


def _boxes(folder: Path, name: str) -> tuple[Path, list[tuple[str, Box, bool]]]:
    """Return the image of an annotation, and its boxes: class, (left, top, right, bottom), whether all was inside."""
    file = folder / "Annotations" / f"{name}.xml"
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise HarnessError(f"{name} (leads out of the folder)")
        root = ElementTree.fromstring(file.read_bytes())
        image = next(path for path in _images(folder, name) if path.is_file())
        width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
        found = []
        for each in root.iter("object"):
            corners = [round(float(each.findtext(f"bndbox/{key}", ""))) for key in ("xmin", "ymin", "xmax", "ymax")]
            # VOC counts pixels from 1, and the last one belongs to the box.
            left, top, right, bottom = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
            box = (max(left, 0), max(top, 0), min(right, width or right), min(bottom, height or bottom))
            found.append(
                (str(each.findtext("name", "")).strip(), box, box == (max(left, -1), max(top, -1), right, bottom))
            )
    except StopIteration:
        raise HarnessError(f"{name} (no image in JPEGImages)") from None
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise HarnessError(f"{name} ({getattr(error, 'strerror', None) or error})") from None
    return image, found


def _images(folder: Path, name: str) -> Iterator[Path]:
    for suffix in (".jpg", ".jpeg", ".png", ".JPG"):
        yield folder / "JPEGImages" / f"{name}{suffix}"
