"""Knowledge distillation: rows whose labels are drawn from what a saved model, the teacher, predicts for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.augment.base import Augmentation, AugmentationContext, Generator
from harness.data.dataset import Split
from harness.data.readers.advice import without_settings
from harness.data.readers.whole_table import read_texts
from harness.data.text_values import check_text, truth
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples
from harness.models.files.digests import sha256
from harness.models.start.find import best_saved
from harness.records.files import read_json
from harness.records.signature import digest
from harness.records.study_files import DESCRIPTION


@dataclass(kw_only=True)
class Distillation(Augmentation):
    """A student learns what a teacher predicts for the training rows and for rows without labels.

    Hinton, Vinyals and Dean 2015, arXiv:1503.02531. A label is drawn from the teacher's probabilities at a temperature,
    `copies` times for each text, anew at each seed. In expectation the loss is the cross-entropy with soft labels, for
    every method, heads fitted by a formula included.

    Attributes:
        teacher_path: the directory of a saved model, its run or its study, of which the saved model with the best
            validation score is taken.
        unlabelled_path: a file of texts; None: only training rows are taught. Texts of test and validation rows are
            left out, and those of training rows, which have labels.
        text: its column.
        labelled: whether the training rows are taught, too, besides their own labels.
        temperature: above 1 softens the teacher's probabilities, towards 0 only its answer counts.
    """

    teacher_path: str | None = None
    unlabelled_path: str | None = None
    text: str = "text"
    labelled: bool = True
    temperature: float = 1.0
    _facts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        super().check(problems)
        at = f"augment.{self.name}"
        check_text(problems, f"{at}.teacher_path", self.teacher_path, "a saved model or a study", optional=True)
        check_text(problems, f"{at}.unlabelled_path", self.unlabelled_path, "a file", optional=True)
        check_text(problems, f"{at}.text", self.text, "the column of texts")
        problems.check(
            self.teacher_path is not None,
            f"{at} names no teacher: set {at}.teacher_path=<study or saved model>, such as runs/<study>.",
        )
        self.labelled = truth(self.labelled)
        if problems.check(
            isinstance(self.labelled, bool), f"{at}.labelled must be true or false, not {self.labelled!r}."
        ):
            problems.check(
                self.labelled or self.unlabelled_path is not None,
                f"{at}.labelled=false teaches rows without labels only: name them, {at}.unlabelled_path=<file>.",
            )
        number = not isinstance(self.temperature, bool) and isinstance(self.temperature, int | float)
        problems.check(
            number and 0 < self.temperature < float("inf"),
            f"{at}.temperature must be a number above 0, not {self.temperature!r}.",
        )

    def ready(self, cache_dir: Path) -> list[str]:
        """Find the teacher and the file; return their digests.

        Raises:
            HarnessError: one of them is not there, or the teacher predicts no classes.
        """
        found = [self._teacher(cache_dir)[1]]
        if self.unlabelled_path is not None:
            self._unlabelled()
            found.append(sha256(Path(self.unlabelled_path).expanduser(), cache_dir / "digests"))
        return found

    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Return a function that copies nothing: rows come from `taught`."""
        return lambda text, generator: []

    def taught(self, split: Split, seed: int, around: AugmentationContext) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return texts (n,) and their drawn class indices (n,).

        Args:
            split: the training rows.
            seed: of the run.
            around: context of the run.

        Raises:
            HarnessError: rows are pairs, or the teacher has classes that the task lacks.
        """
        at = f"augment={self.name}"
        if split.pairs is not None:
            raise HarnessError(f"{at} teaches single texts, and the rows of this task are pairs: leave it out.")
        directory, identity, labels = self._teacher(around.cache_dir)
        if unknown := sorted(set(labels) - set(around.labels)):
            raise HarnessError(
                f"{at}: the teacher {directory} predicts classes that the task has not: {examples(unknown)}. Name a "
                "teacher of the same task."
            )
        assert around.teach is not None  # of every run
        own = {_form(text) for text in split.texts}
        found = [] if self.unlabelled_path is None else list(dict.fromkeys(self._unlabelled()))
        kept = [text for text in found if (form := _form(text)) and form not in own and form not in around.held]
        texts = [*(split.texts if self.labelled else ()), *kept]
        if not texts:
            raise HarnessError(f"{at}: {self.unlabelled_path} has no text that is no row of the task already.")
        probabilities = around.teach(directory, identity, texts)
        # Relative to the largest one, which stays 1 at any temperature: all could vanish otherwise.
        shares = probabilities.astype(np.float64) / probabilities.max(axis=1, keepdims=True)
        softened = shares ** min(1 / self.temperature, sys.float_info.max)
        cumulated = np.cumsum(softened / softened.sum(axis=1, keepdims=True), axis=1)
        generator = np.random.default_rng(int(digest([seed, "augment", self.name, split.name])[:15], 16))
        draws = generator.random((self.copies, len(texts)))
        places = np.minimum((cumulated[None] < draws[..., None]).sum(axis=2), len(labels) - 1)
        index = np.array([around.labels.index(label) for label in labels], dtype=np.int64)
        self._facts = {"teacher": identity[:16], "unlabelled": len(kept), "left_out": len(found) - len(kept)}
        if self.labelled:
            agreed = index[probabilities[: len(split)].argmax(axis=1)] == split.targets
            self._facts["agreement"] = round(float(agreed.mean()), 4)
        return texts * self.copies, index[places].reshape(-1)

    def facts(self) -> dict[str, Any]:
        """Return the teacher's digest, how many rows it taught, and its agreement with the labels of training rows."""
        return self._facts

    def _teacher(self, cache_dir: Path) -> tuple[Path, str, tuple[str, ...]]:
        """Return the teacher's directory, the digest of its content, and its classes."""
        named = str(self.teacher_path)
        directory = best_saved(named, f"augment.{self.name}.teacher_path={named}")
        facts = read_json(directory / DESCRIPTION)
        if facts.get("family") != "text_classification" or not facts.get("labels"):
            raise HarnessError(
                f"augment.{self.name}.teacher_path={named} is no model of classes of texts: name a study of text "
                "classification, or one of its saved models (runs/<study>/runs/<cell>/<run>/model)."
            )
        files = sorted([*directory.rglob("*.safetensors"), *directory.rglob("*.json")])
        content = {str(file.relative_to(directory)): sha256(file, cache_dir / "digests") for file in files}
        return directory, digest(content), tuple(facts["labels"])

    def _unlabelled(self) -> list[str]:
        file = Path(str(self.unlabelled_path)).expanduser()
        if not file.is_file():
            raise HarnessError(f"augment.{self.name}.unlabelled_path={file} is no file: name a file of texts.")
        at = f"augment.{self.name}"
        try:
            return read_texts(file, [self.text], {}, lambda told: without_settings(told, f"{at}.text", "a text"))[1][0]
        except HarnessError as error:
            raise HarnessError(*(f"{at}.unlabelled_path: {each}" for each in error.problems)) from error


def folded_texts(splits: Iterable[Split]) -> frozenset[str]:
    """Return the texts of splits as they are compared."""
    return frozenset(_form(text) for split in splits if split.pairs is None for text in split.texts)


def _form(text: str) -> str:
    """Return a text as those of rows are compared: without letter case and repeated spaces."""
    return " ".join(text.lower().split())
