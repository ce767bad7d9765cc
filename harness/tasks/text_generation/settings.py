"""Settings of text generation tasks that do not depend on the source of their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from harness.api.metric import Metric
from harness.data.readers.file_formats import expanded
from harness.errors import HarnessError, Problems, nearest
from harness.tasks.text_generation.data import TRAIN_ON
from harness.tasks.text_generation.decoding import Decoding
from harness.tasks.text_generation.metrics import METRICS
from harness.tasks.text_generation.metrics.judges import check_judges
from harness.tasks.text_generation.retention.retained import FORMS
from harness.tasks.text_settings import TextSettings

WAYS = ("max_new_tokens", "num_beams", "temperature", "stop", "seed")  # the keys of `task.generate`


@dataclass(kw_only=True)
class GenerationSettings(TextSettings):
    """Settings of splits, training tokens and outputs."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    metric: str = "loss"
    train_on: str = "completion"  # completion (the last turn) | assistant (each of its turns) | all
    max_length: int = 512  # tokens of prompt and completion in training; longer rows are cut at their end, and counted
    generate: Mapping[str, Any] = field(default_factory=dict)  # how texts are written: fields of `Decoding`
    validation_rows: int | None = None  # most validation prompts, drawn by split_seed; null: all
    test_rows: int | None = None  # most test prompts, likewise
    retain: str | Mapping[str, Any] | None = (
        None  # what is measured before and after training: a file, a kind of task, or a mapping
    )
    judges: Mapping[str, Any] | None = None  # metrics of one's own: {name: {_target_: package.Class}}

    def known_metrics(self) -> Collection[str]:
        """Return the family's metrics, and the judges."""
        return [*self.metrics, *(map(str, self.judges) if isinstance(self.judges, Mapping) else ())]

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        check_judges(self.judges, METRICS, problems)
        problems.check(
            self.retain is None or (isinstance(self.retain, str | Mapping) and bool(self.retain)),
            f"task.retain is {FORMS}, not {self.retain!r}.",
        )
        for name in ("validation_rows", "test_rows"):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 2)
            problems.check(holds, f"task.{name} must be a whole number, 2 or more, or null, not {value!r}.")
        problems.check(
            self.train_on in TRAIN_ON, f"Unknown task.train_on {self.train_on}. {nearest(self.train_on, TRAIN_ON)}"
        )
        self._check_generate(problems)

    def _check_generate(self, problems: Problems) -> None:
        if not isinstance(self.generate, Mapping):
            problems.add(f"task.generate is a section with the keys {', '.join(WAYS)}, not {self.generate!r}.")
            return
        unknown = [str(key) for key in self.generate if key not in WAYS]
        for key in unknown:
            problems.add(f"Unknown key task.generate.{key}. {nearest(key, WAYS)}")
        heat, stop = self.generate.get("temperature", 0.0), self.generate.get("stop")
        number = isinstance(heat, int | float) and not isinstance(heat, bool)
        problems.check(number, f"task.generate.temperature must be a number, 0 or more, not {heat!r}.")
        listed = stop is None or isinstance(stop, list | tuple)
        problems.check(listed, f'task.generate.stop lists texts that end an output, ["\\n"], not {stop!r}.')
        if not unknown and number and listed:
            self.decoding().check(problems)

    def decoding(self) -> Decoding:
        """Return how outputs are chosen."""
        given = {key: value for key, value in self.generate.items() if value is not None}
        return Decoding(**given | {"stop": tuple(given.get("stop", ()))})


def template_file(path: str) -> str:
    """Read a chat template.

    Raises:
        HarnessError: it cannot be read.
    """
    try:
        return expanded(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(
            f"task.chat_template={path} cannot be read ({error}): name a file with a Jinja chat template."
        ) from error
