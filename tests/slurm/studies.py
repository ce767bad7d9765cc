"""Small real studies on the cluster of the tests."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.launch.slurm.submissions import Jobs
from tests.faulty.methods import HOLD
from tests.helpers.small_dataset import ROOT
from tests.helpers.waits import STILL_SECONDS, wait_for
from tests.study.test_survival import Study

FAULTY = ("--config-dir", str(ROOT / "tests/faulty/conf"), "packages=[tests]")  # methods that go wrong
RUN = ("confirm.seeds=1", "train.batch_size=4", "train.checkpoint_seconds=1", "launch.threads=1")
THREE = (
    *RUN,
    "tune.trials=2",
    "tune.startup_trials=2",
    "train.epochs=16",
)  # two tuning runs at once, then a confirmation
# Of interactions: these jobs import neither transformers nor PEFT, which takes longer than all that a test waits for.
VISITS = ("task=recommendation", "task.path=visits.csv", "task.name=visits", "model=interactions")
# Runs that last as long as they are held.
SLOW = (*FAULTY, "method=faulty_slow", *VISITS)
LONG = (*SLOW, *THREE)
HELD = (
    *SLOW,
    *RUN,
    "tune.trials=1",
    "train.epochs=10",
)  # a tuning run of 150 steps, then one more
PROFILE = ("slurm=devcluster", "slurm.poll_s=3", "slurm.signal_delay_s=30")


def write_visits(path: Path, users: int = 60, items: int = 24) -> None:
    """Write six visits of each user; most follow one another in the order of the items."""
    source = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user", "item", "time"))
        for user in range(users):
            item = source.randrange(items)
            for step in range(6):
                writer.writerow((f"u{user}", f"i{item}", step))
                item = (item + 1) % items if source.random() < 0.7 else source.randrange(items)


class ClusterStudy(Study):
    """A study whose coordinator is a process of the test and whose runs are Slurm jobs."""

    def __init__(self, directory: Path, cache: Path, *arguments: str, name: str = "mine", profile: bool = True) -> None:
        where = PROFILE if profile else ("launch.kind=inline",)
        super().__init__(directory, cache, *where, *arguments, name=name)
        write_visits(directory / "visits.csv")
        self.study = directory / "runs" / name
        self.process: subprocess.Popen[str] | None = None
        self.root = ROOT  # of the program
        self._output = directory / "printed.txt"

    @property
    def printed(self) -> str:
        """What the last coordinator has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def start(self) -> subprocess.Popen[str]:
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(self.root)},
                stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        return self.process

    def finish(self, timeout: float = STILL_SECONDS) -> tuple[int, str]:
        process = self.start()
        try:
            self.wait_for(lambda: process.poll() is not None, timeout)
        finally:
            self.kill()
        return process.returncode, self.printed

    def kill(self) -> None:
        """End the coordinator at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def ended(self, code: int = 0) -> str:
        """Wait for the coordinator to end, with an exit code; give what it printed."""
        process = self.process
        assert process is not None
        self.wait_for(lambda: process.poll() is not None)
        assert process.returncode == code, self.printed
        return self.printed

    def wait_for(self, condition: Callable[[], Any], still: float = STILL_SECONDS) -> None:
        """Wait until something is so, as long as the study gets on."""
        try:
            wait_for(condition, self.directory, still)
        except AssertionError as error:
            raise AssertionError(f"{error}; printed so far: {self.printed}") from None

    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """What was measured, by signature."""
        return {record["signature"]: record["metrics"] for record in self.records()}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Slurm's view of the study's jobs that are not over: {id: {state, node, run}}."""
        runs = {
            f"{submission.job_id}_{task}": str(batch[0]["directory"])
            for submission in Jobs(self.study).open()
            for task, batch in enumerate(submission.batches)
        }
        out = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i|%T|%N"], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.strip().split("|") for line in out.splitlines() if line.strip()]
        return {row[0]: {"state": row[1], "node": row[2], "run": runs[row[0]]} for row in rows if row[0] in runs}

    def hold(self, seconds: float = 0.6) -> None:
        """Let runs of `LONG` sleep so long after each step, until `release`: they need no core meanwhile."""
        (self.directory / HOLD).write_text(str(seconds))

    def checkpointed(self, runs: int) -> None:
        """Wait until so many runs have stopped at a checkpoint, and release all."""
        self.wait_for(lambda: sum("Stopped at" in log.read_text() for log in self.runs.glob("*/*/log.txt")) >= runs)
        self.release()

    def release(self) -> None:
        """Let them go on as fast as they can."""
        (self.directory / HOLD).unlink()

    def training(self, epochs: int = 1, runs: int = 2) -> dict[str, dict[str, str]]:
        """Wait until so many runs train, some epochs in; give their jobs."""

        def far() -> bool:
            lines = [path.read_text().count("\n") for path in self.runs.glob("*/*/metrics.jsonl")]
            return len(lines) >= runs and min(lines) >= epochs

        self.wait_for(far)
        return {key: job for key, job in self.jobs().items() if job["state"] == "RUNNING"}

    def is_as_undisturbed(self, reference: dict[str, Any], hard: int = 0) -> None:
        """Every run has exactly one `ok` record, equal to the undisturbed study's, and redid no more than it had to.

        Args:
            reference: metrics of the undisturbed study.
            hard: times that a run may have lost what it did since its last checkpoint (a second's work).
        """
        records = self.records()
        assert [record["status"] for record in records] == ["ok"] * len(reference), records
        assert set(self.metrics()) == set(reference)
        for sign, metrics in self.metrics().items():
            for split, values in reference[sign].items():
                for name, value in values.items():
                    assert abs((metrics[split][name] or 0) - (value or 0)) < 1e-6, (sign, split, name)
        self.trained_once(16, hard)

    def trained_once(self, epochs: int, hard: int = 0) -> None:
        """Every run trained each of its epochs, and none again but for what it had lost.

        Args:
            epochs: of every run.
            hard: times that a run may have lost what it did since its last checkpoint (a second's work).
        """
        for log in self.runs.glob("*/*/log.txt"):
            counts = Counter(re.findall(r"^Epoch (\d+),", log.read_text(), re.MULTILINE))
            assert len(counts) == epochs
            again = sum(count - 1 for count in counts.values())
            # Epochs take some tenths of a second here, checkpoints are a second apart.
            assert again <= 4 * hard, (log, counts)
            print(log.parent.name, "epochs trained again:", again)
        assert not list(self.runs.glob("*/*/checkpoint"))
