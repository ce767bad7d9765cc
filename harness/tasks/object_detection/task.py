"""Detection tasks on files: COCO JSON, or folders of Pascal VOC's form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.data.images import FileImage
from harness.data.readers.file_formats import expanded, neighbours
from harness.data.readers.rows import data_folder
from harness.data.readers.voc import ANNOTATIONS, read_annotation, split_lists
from harness.data.text_values import check_text
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.tasks.file_rows import read_splits
from harness.tasks.object_detection.coco import read_coco
from harness.tasks.object_detection.rows import Annotated, Corners, Rows
from harness.tasks.object_detection.settings import DetectionTask

PATHS = ("path", "validation_path", "test_path", "images", "folder")


@dataclass(kw_only=True)
class ObjectDetection(DetectionTask):
    """Images with boxes: a JSON file of COCO's form, or a folder of VOC's."""

    path: str | None = None  # a JSON file, or a folder with XML files
    validation_path: str | None = None  # likewise, of the validation images
    test_path: str | None = None  # likewise, of the test images
    images: str | None = None  # folder of the images that JSON files name; null: that of the file
    folder: str | None = None  # folder of $HARNESS_DATA that is used without a path

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for key in PATHS:
            check_text(problems, f"task.{key}", getattr(self, key), "one path", optional=True)

    def read(self) -> tuple[dict[str, Rows], str]:
        """See `DetectionTask`."""
        train = expanded(self.path) if self.path else data_folder(self.folder)
        if train is None:
            raise HarnessError(self._no_source())
        given = {"train": train}
        given |= {
            split: expanded(path)
            for split, path in (("validation", self.validation_path), ("test", self.test_path))
            if path
        }
        return read_splits(given, self._of), train.name

    def _of(self, path: Path) -> dict[str, Rows]:
        if not path.exists():
            raise HarnessError(f"{path} does not exist (current directory: {Path.cwd()}). {neighbours(path)}")
        if path.is_dir():
            if self.images is not None:
                raise HarnessError(
                    f"task.images={self.images} is of a JSON file, and {path} is a folder: leave it out."
                )
            return _voc(path, self.name)
        return {"train": read_coco(path, None if self.images is None else expanded(self.images))}

    def _no_source(self) -> str:
        own = "task.path=FILE.json of COCO's form (with task.images=FOLDER), or task.path=FOLDER with VOC XML"
        if not self.folder:
            return f"Task {self.name} needs annotated images: {own}."
        return (
            f"The data of task {self.name} are not here. Set HARNESS_DATA to a folder that holds {self.folder}, or "
            f"name your own: {own}."
        )


def _from_zero(box: Corners) -> Corners:
    """Return a box without the line before the image that it has if its annotation counts pixels from 0, as many do."""
    left, top, right, bottom = box
    return 0.0 if left == -1 else left, 0.0 if top == -1 else top, right, bottom


def _voc(folder: Path, task: str) -> dict[str, Rows]:
    """Read the splits of a folder of VOC's form.

    Raises:
        HarnessError: it has no annotations, or some cannot be used; all problems at once.
    """
    lists = split_lists(folder)
    if not lists["train"]:
        raise HarnessError(
            f"{folder} has no .xml files, neither in {ANNOTATIONS} nor beside the images, or lists no training image "
            "in ImageSets/Main."
        )
    problems, found = Problems(), dict[str, Rows]()
    owner: dict[str, str] = {}
    for split, names in lists.items():
        bad, images = list[str](), list[Annotated]()
        for row, name in enumerate(names):
            try:
                image = read_annotation(folder, name)
            except HarnessError as error:
                bad.extend(error.problems)
                continue
            objects = [(each.label, _from_zero(each.box), each.difficult) for each in image.objects]
            images.append(Annotated(FileImage(image.path), image.path.name, image.size, objects, row))
        problems.check(
            not bad,
            f"{len(bad)} of {len(names)} {split} annotations of task {task} cannot be used: {several(bad)}. Mend them, "
            "or take them out of ImageSets/Main.",
        )
        counts = Counter(names)
        twice = [name for name in names if owner.setdefault(name, split) != split or counts[name] > 1]
        problems.check(
            not twice,
            f"{len(set(twice))} images are listed several times in ImageSets/Main: {several(sorted(set(twice)))}. An "
            "image belongs to one split, once.",
        )
        found[split] = Rows(images)
    problems.raise_any()
    return found
