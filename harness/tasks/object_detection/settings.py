"""Settings common to all detection tasks, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.api.metric import Metric
from harness.errors import HarnessError, Problems
from harness.tasks.labeled_files import UNREADABLE
from harness.tasks.object_detection.assembly import FAULTY, assemble
from harness.tasks.object_detection.data import DetectionData
from harness.tasks.object_detection.metrics import METRICS
from harness.tasks.object_detection.rows import Rows
from harness.tasks.text_settings import TextSettings

SIDES = (32, 4096)  # least and most pixels of a side of `input_size`


@dataclass(kw_only=True)
class DetectionTask(TextSettings):
    """A detection task. Subclasses define the source of its rows."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "ap50"
    input_size: Sequence[int] | None = None  # height and width to which images are resized; null: the model's
    least_score: float = 0.3  # answers with a lower score are not given; metrics count all
    unreadable: str = "error"  # error | skip: what is done with images that cannot be read
    faulty: str = (
        "error"  # error | mend: cut boxes at the edge of their image, leave out those without a size or outside
    )

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        problems.check(
            self.unreadable in UNREADABLE,
            f"task.unreadable must be error or skip (leave such images out), not {self.unreadable}.",
        )
        problems.check(
            self.faulty in FAULTY,
            f"task.faulty must be error or mend (cut boxes at the edge, leave out those without a size), not "
            f"{self.faulty}.",
        )
        sides: Any = self.input_size
        whole = isinstance(sides, list | tuple) and len(sides) == 2 and all(type(side) is int for side in sides)
        problems.check(
            sides is None or (whole and all(SIDES[0] <= side <= SIDES[1] for side in sides)),
            f"task.input_size is [height,width] from {SIDES[0]} to {SIDES[1]}, such as [240,320], not {sides}.",
        )
        score = self.least_score
        problems.check(
            isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score < 1,
            f"task.least_score must lie in [0, 1), not {score!r}.",
        )

    def load(self) -> DetectionData:
        """Read, check and split the images. The same configuration and files always give the same splits.

        Raises:
            HarnessError: lists all problems that can be detected together.
        """
        problems = Problems()
        self.check(problems)
        problems.raise_any()
        try:
            rows, source = self.read()
        except OSError as error:
            raise HarnessError(f"The images of task {self.name} cannot be read: {error}.") from None
        size = None if self.input_size is None else (int(self.input_size[0]), int(self.input_size[1]))
        return assemble(
            self, rows, source, skip=self.unreadable == "skip", mend=self.faulty == "mend", input_size=size,
            least_score=self.least_score,
        )  # fmt: skip

    def read(self) -> tuple[dict[str, Rows], str]:
        """Return the images by given split, at least `train`, and the name of their source.

        Raises:
            HarnessError: they are not available.
        """
        raise NotImplementedError
