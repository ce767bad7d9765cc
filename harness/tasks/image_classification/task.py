"""Image classification tasks on files or a hub data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.readers.file_formats import FORMATS, neighbours
from harness.data.text_values import as_text, check_text, plain, shown
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.file_rows import read_hub_files, read_splits, read_table
from harness.tasks.image_classification.settings import ImageTask
from harness.tasks.image_classification.sources import IMAGES, ImageTable, read_idx, read_npz, read_pixels
from harness.tasks.labeled_files import read_folder
from harness.tasks.text_source import TextSource

IMAGE_FORMATS = ("folder", "npz", "idx", "pixels")
ALL_FORMATS = (*IMAGE_FORMATS, *(name for name in FORMATS if name not in ("lines", "arff")))


@dataclass(kw_only=True)
class ImageClassification(ImageTask, TextSource):
    """Labeled images: a folder with a folder a class, a table of paths, arrays, a table of pixels, or a hub data set.

    Where they come from is said as for texts, see `TextSource`.
    """

    text: str | Sequence[str] = field(default="image", init=False)  # `image` in its place
    image: str = "image"  # the column of paths or bytes, or the array in an npz file
    group: str | None = None  # a column: images of one value stay in one split, such as photographs of one patient
    image_shape: Sequence[int] | None = None  # height, width[, channels] of a table whose rows are pixels

    def __post_init__(self) -> None:
        """Convert values that YAML reads as other types."""
        super().__post_init__()
        self.image = as_text(self.image)
        self.group = as_text(self.group)
        self.text = self.image
        self.normalize_source()

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        self.check_source(problems)

    def _check_columns(self, problems: Problems) -> None:
        check_text(problems, "task.image", self.image, "the name of a column or array")
        check_text(problems, "task.label", self.label, "the name of a column or array")
        check_text(problems, "task.group", self.group, "the name of a column", optional=True)
        problems.check(
            self.label != self.image, f"task.label and task.image both name the column {plain(self.label)!r}."
        )
        shape: Any = self.image_shape
        whole = isinstance(shape, list | tuple) and all(isinstance(side, int) and side > 0 for side in shape)
        problems.check(
            shape is None or (whole and len(shape) in (2, 3) and (len(shape) == 2 or shape[2] in (1, 3))),
            "task.image_shape is [height,width] or [height,width,3] of a table whose rows are pixels, such as [28,28], "
            f"not {shown(shape)}.",
        )

    def _check_format(self, problems: Problems) -> None:
        wanted = self.format
        if wanted is not None and wanted not in ALL_FORMATS:
            problems.add(f"Unknown task.format {wanted}. {nearest(str(wanted), ALL_FORMATS)}")
        if wanted in IMAGE_FORMATS or wanted not in ALL_FORMATS:
            self.format = None
        super()._check_format(problems)
        self.format = wanted
        problems.check(
            wanted != "pixels" or self.image_shape is not None,
            "task.format=pixels needs the height and width of the images, such as task.image_shape=[28,28].",
        )

    def tables(self) -> tuple[dict[str, ImageTable], str]:
        """See `ImageTask`."""
        paths, source = self.files_of_splits()
        if "train" not in paths:
            if self.hub is None:
                raise HarnessError(self._no_source(self.name))
            hub_files = read_hub_files(self.hub, self.image, self.label, self.name, IMAGES, "Image")
            return hub_files, self.hub_source()
        return read_splits(paths, self._of_file), source

    def names_of_labels(self) -> dict[str, str]:
        """Return the names that the task or its hub data set gives to raw labels."""
        paths, _ = self.files_of_splits()
        given = self.label_names if "train" in paths else (self.hub or {}).get("label_names")
        return dict(given or {})

    def _of_file(self, path: Path) -> dict[str, ImageTable]:
        if not path.exists():
            raise HarnessError(f"{path} does not exist (current directory: {Path.cwd()}). {neighbours(path)}")
        kind = self.format or self._kind(path)
        if (kind == "folder") != path.is_dir():
            raise HarnessError(f"{path} is {'a folder' if path.is_dir() else 'no folder'}, and task.format={kind}.")
        if kind == "folder":
            self._refuse_group(kind)
            return read_folder(path, IMAGES)
        if kind == "npz":
            self._refuse_group(kind)
            return read_npz(path, self.image, self.label)
        if kind == "idx":
            self._refuse_group(kind)
            return {"train": read_idx(path)}
        if kind == "pixels":
            self._refuse_group(kind)
            return {"train": read_pixels(path, self.image_shape or (), str(plain(self.label)))}
        return {"train": self._of_table(path)}

    def _kind(self, path: Path) -> str:
        """Return the format that a path shows."""
        if path.is_dir():
            return "folder"
        if path.suffix.lower() == ".npz":
            return "npz"
        if "idx3-ubyte" in path.name or "idx1-ubyte" in path.name:
            return "idx"
        return "pixels" if self.image_shape is not None else "table"

    def _of_table(self, path: Path) -> ImageTable:
        keys = {self.label: "task.label", self.image: "task.image", self.group: "task.group"}
        return read_table(path, self.image, self.label, self.group, self.file_format(), IMAGES, keys)

    def _refuse_group(self, kind: str) -> None:
        if self.group is not None:
            raise HarnessError(
                f"task.group={self.group} is a column of a table, and task.format={kind} has none: name a table of "
                "paths, or set task.group=null."
            )

    def _no_source(self, name: str) -> str:
        if not self.folder:
            return (
                f"Task {name} needs labeled images: task.path=FOLDER with a folder for each class, or a file "
                f"({', '.join(ALL_FORMATS[1:])})."
            )
        return super()._no_source(name)
