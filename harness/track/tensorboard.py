"""TensorBoard event files, written with TensorBoard's own package and without torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.records.states import FAILURES
from harness.track.base import Tracked, Tracker, shown

FOLDER = "tensorboard"


@dataclass
class TensorBoard(Tracker):
    """Writes curves, results and hyperparameters of every run to `<study>/tensorboard/<cell>/<run>`.

    Attributes:
        name, wait_seconds: as in `Tracker`.
    """

    name: str = "tensorboard"
    wait_seconds: float = 30.0
    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)
    extra: ClassVar[str | None] = "tensorboard"
    folder: Path = field(init=False, default=Path())
    writers: dict[str, Any] = field(init=False, default_factory=dict)

    def open(self, study: Path) -> None:
        """Set the output directory.

        Raises:
            HarnessError: a file has its name.
        """
        from tensorboard.summary.writer import event_file_writer  # noqa: F401 -- fails early if broken

        self.folder = study / FOLDER
        if self.folder.exists() and not self.folder.is_dir():
            raise HarnessError(f"{self.folder} is a file, where TensorBoard's directory belongs: move it away.")

    def begin(self, run: Tracked) -> None:
        """Open the run's event file; delete files of an earlier run with this name."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder, mark = self.folder / run.name, self.folder / run.name / "id"
        if folder.is_dir() and not (mark.is_file() and mark.read_text(encoding="utf-8") == run.id):
            shutil.rmtree(folder)
        if (earlier := self.writers.pop(run.name, None)) is not None:
            earlier.close()
        self.writers[run.name] = EventFileWriter(str(folder))
        mark.write_text(run.id, encoding="utf-8")

    def epoch(self, run: Tracked, number: int, values: Mapping[str, float], seconds: float) -> None:
        """Write a point of each curve, with the time of training."""
        self._scalars(run, number, values, _seconds(run.record["started"]) + seconds)
        self.writers[run.name].flush()

    def end(self, run: Tracked, results: Mapping[str, float]) -> None:
        """Write hyperparameters and results."""
        from tensorboard.plugins.hparams.api_pb2 import Status
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

        record, ended = run.record, _seconds(run.record["ended"] or run.record["started"])
        start = SessionStartInfo(group_name=run.name, start_time_secs=_seconds(record["started"]))
        for key, value in hparams(run).items():
            if isinstance(value, bool):
                start.hparams[key].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[key].number_value = value
            else:
                start.hparams[key].string_value = str(value)
        failed = record["status"] in FAILURES
        end = SessionEndInfo(
            status=Status.STATUS_FAILURE if failed else Status.STATUS_SUCCESS, end_time_secs=ended
        )  # fmt: skip
        self._summary(run, "session_start_info", HParamsPluginData(session_start_info=start, version=0), ended)
        # Named differently from the curves: results are of the best epoch, which may not be a curve's last point.
        self._scalars(run, 0, {f"result/{name}": value for name, value in results.items()}, ended)
        self._summary(run, "session_end_info", HParamsPluginData(session_end_info=end, version=0), ended)
        self.writers.pop(run.name).close()

    def close(self) -> list[str]:
        """Close the files of runs that have not ended; return the command that shows the results."""
        for writer in self.writers.values():
            writer.close()
        self.writers = {}
        return [f"TensorBoard: tensorboard --logdir {shown(self.folder)}"] if self.folder.is_dir() else []

    def _scalars(self, run: Tracked, step: int, values: Mapping[str, float], at: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self.writers[run.name].add_event(Event(wall_time=at, step=step, summary=Summary(value=points)))

    def _summary(self, run: Tracked, what: str, content: Any, at: float) -> None:
        """Write a message for the HParams tab, which lies in the metadata of an empty value."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
        value = Summary.Value(tag=f"_hparams_/{what}", metadata=SummaryMetadata(plugin_data=plugin))
        self.writers[run.name].add_event(Event(wall_time=at, summary=Summary(value=[value])))


def hparams(run: Tracked) -> dict[str, Any]:
    """Return the columns of the HParams tab: task, model, method, phase, seed, other axes, and tuned values.

    A run without tuned values has its learning rate, batch size and number of epochs instead.
    """
    record = run.record
    tuned = dict(record["hyperparameters"])
    train = run.config.get("train") or {}
    rest = {} if tuned else {f"train.{key}": train[key] for key in ("lr", "batch_size", "epochs") if key in train}
    names = ("task", "model", "method", "phase", "seed")
    return {name: record[name] for name in names} | dict(record["variant"]) | rest | tuned


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
