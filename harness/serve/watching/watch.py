"""The statistics of a served model, judged by what the model knows of its validation and test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.formatting.examples import some
from harness.formatting.values import plural
from harness.serve.watching.judging import DISTANCE, WEEK, Look, looks
from harness.serve.watching.windows import Window, read_windows, reference_of
from harness.serving.confidence.stored import TEST
from harness.statistics.confidence.two_shares import share_interval


@dataclass(frozen=True)
class Score:
    """A share of right answers.

    Attributes:
        rows: answers.
        share: that are right.
        low, high: its 95 % interval.
    """

    rows: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Watched:
    """What is known of a served model.

    Attributes:
        model: the folder of its files.
        digest: of them.
        reference: name of the rows that answers are compared with: validation or test.
        reference_rows: their number.
        rows: answers.
        start, end: times of the first and of the last.
        looks: all, in order.
        error: error rate of a week.
        unsure, out_of_scope: answers withheld.
        live: share of right answers by feedback; None without any.
        expected: the same of the study's test rows; of validation rows where there are none.
        notes: what could not be tested, and why.
    """

    model: Path
    digest: str
    reference: str
    reference_rows: int
    rows: int
    start: str
    end: str
    looks: tuple[Look, ...]
    error: float
    unsure: int
    out_of_scope: int
    live: Score | None
    expected: Score
    notes: tuple[str, ...]

    @property
    def recent(self) -> tuple[Look, ...]:
        """The looks of the last week that has statistics, which the verdict is about."""
        last = datetime.fromisoformat(self.end)
        return tuple(look for look in self.looks if last - datetime.fromisoformat(look.time) < WEEK)

    @property
    def first(self) -> Look | None:
        """The first look of the last week that tells drift."""
        return next((look for look in self.recent if look.drift), None)

    @property
    def drift(self) -> bool:
        """Whether a look of the last week tells drift."""
        return self.first is not None

    @property
    def earlier(self) -> tuple[Look, ...]:
        """The looks before the last week that told drift."""
        return tuple(look for look in self.looks[: len(self.looks) - len(self.recent)] if look.drift)


def watch(named: str, directory: Path, runs_dir: Path, cell: str | None, since: str | None, error: float) -> Watched:
    """Judge the statistics of a model.

    Args:
        named: study, run, saved model or export.
        directory: of the statistics.
        runs_dir: directory of studies.
        cell: of a study; None: the recommended one.
        since: time before which windows do not count, as these have it; None: all count.
        error: of a week; see `looks`.

    Raises:
        HarnessError: there is no such model, it knows nothing of its rows, or it has no statistics there.
    """
    from harness.export.winner import winner
    from harness.serve.loading import files_digest
    from harness.serving.confidence.stored import read_confidence
    from harness.serving.saved_model import read_description

    folder = winner(named, runs_dir, cell).model
    facts = read_description(folder)
    if not (labels := facts.get("labels")):
        raise HarnessError(f"{folder} is no model of classes, and only answers of these are counted and watched.")
    if (known := read_confidence(folder, facts)) is None:
        raise HarnessError(
            f"{folder} does not keep how it judges its validation rows, since an earlier version saved it: train it "
            "again."
        )
    digest = files_digest(folder)[:16]
    every, damaged = read_windows(directory)
    reference = reference_of(known)
    bins = len(reference.confidence.values) + 1
    windows = [each for each in every if each.digest == digest and (since is None or each.end > since)]
    usable = [
        each
        for each in windows
        if len(each.classes) == len(labels)
        and len(each.confidence) == bins
        and (each.score is None or len(each.score) == bins)
    ]
    if not usable:
        told = f" {plural(damaged, 'line')} in it {'is' if damaged == 1 else 'are'} damaged." if damaged else ""
        raise HarnessError(_nothing(directory, named, digest, every, windows, since) + told)
    notes = []
    if lost := len(windows) - len(usable):
        notes.append(f"{plural(lost, 'window')} of this model were counted by another version, and do not count.")
    if damaged:
        notes.append(f"{damaged} lines of {directory} are damaged and do not count.")
    if reference.part.classes is None:
        notes.append("The mix of classes is not tested: the model was saved by an earlier version.")
    if all(each.detector is None for each in usable):
        notes.append(f"No {DISTANCE} is tested: the model has no detector of rows of no class (task.oos_label).")
    judged = known.parts.get(TEST, reference.part)
    right = (int(judged.right.sum()), len(judged.right))
    hits, misses = sum(each.right for each in usable), sum(each.wrong for each in usable)
    return Watched(
        folder, digest, reference.name, len(reference.part.confidence), sum(each.rows for each in usable),
        min(each.start for each in usable), usable[-1].end,
        tuple(looks(usable, reference, right, labels, error)), error,
        sum(each.unsure for each in usable), sum(each.out_of_scope for each in usable),
        _score(hits, hits + misses) if hits + misses else None, _score(*right), tuple(notes),
    )  # fmt: skip


def _score(right: int, rows: int) -> Score:
    return Score(rows, right / rows, *share_interval(right / rows, rows, 0.95))


def _nothing(
    directory: Path, named: str, digest: str, every: Sequence[Window], windows: Sequence[Window], since: str | None
) -> str:
    """Say why a model has no statistics."""
    if windows:
        return f"The statistics of {named} in {directory} were counted by another version: start the service again."
    if any(each.digest == digest for each in every):
        return f"{directory} has no statistics of {named} after {since}: leave --since out, or name an earlier time."
    if not every:
        return (
            f"{directory} has no statistics yet. harness serve {named} --statistics {directory} writes them, at the "
            "latest ten minutes after an answer."
        )
    others = sorted({f"{each.model} ({each.digest})" for each in every})
    return (
        f"{directory} has no statistics of {named} ({digest}), only of {some(others)}: name the model or export that "
        "is served."
    )
