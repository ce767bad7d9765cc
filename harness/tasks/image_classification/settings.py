"""Settings common to all image classification tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import HarnessError, Problems
from harness.tasks.image_classification.assembly import assemble_images
from harness.tasks.image_classification.data import ImageData
from harness.tasks.image_classification.sources import ImageTable
from harness.tasks.labeled_files import UNREADABLE
from harness.tasks.text_classification.settings import ClassificationSettings


@dataclass(kw_only=True)
class ImageTask(ClassificationSettings):
    """An image classification task. Subclasses define the source of its rows."""

    unit: ClassVar[str] = "image"

    unreadable: str = "error"  # error | skip: what is done with images that cannot be read

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(
            self.unreadable in UNREADABLE,
            f"task.unreadable must be error or skip (leave such images out), not {self.unreadable}.",
        )

    def load(self) -> ImageData:
        """Read, check and split the images. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        try:
            tables, source = self.tables()
        except OSError as error:
            raise HarnessError(f"The images of task {self.name} cannot be read: {error}.") from None
        return assemble_images(self, tables, source, self.names_of_labels(), self.unreadable == "skip")

    def tables(self) -> tuple[dict[str, ImageTable], str]:
        """Return the images by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError

    def names_of_labels(self) -> dict[str, str]:
        """Return {raw label: name of the class}; empty where raw labels are the names."""
        return {}
