"""Small real studies on the cluster of the tests."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.launch.submissions import Jobs
from tests.small import ROOT
from tests.test_survival import Study

# Three runs of a dozen seconds or more: two tuning runs at once, then the confirmation of the better.
LONG = (
    "method=lora", "tune.trials=2", "tune.startup_trials=2", "confirm.seeds=1", "train.epochs=16", "train.batch_size=4",
    "train.checkpoint_seconds=1", "launch.threads=1",
)  # fmt: skip
FAULTY = ("--config-dir", str(ROOT / "tests/faulty/conf"), "packages=[tests]")  # methods that go wrong
PROFILE = ("slurm=devcluster", "slurm.poll_s=3", "slurm.signal_delay_s=30")


class ClusterStudy(Study):
    """A study whose coordinator is a process of the test and whose runs are Slurm jobs."""

    def __init__(self, directory: Path, cache: Path, *arguments: str, name: str = "mine", profile: bool = True) -> None:
        where = PROFILE if profile else ("launch.kind=inline",)
        super().__init__(directory, cache, *where, *arguments, name=name)
        self.study = directory / "runs" / name
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        self.process = super().start()
        return self.process

    def kill(self) -> None:
        """End the coordinator at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()

    def ended(self, timeout: float = 400) -> str:
        """Wait for the coordinator to finish the study; give what it printed."""
        assert self.process is not None
        printed, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, printed
        return printed

    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """What was measured, by signature."""
        return {record["signature"]: record["metrics"] for record in self.records()}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Slurm's view of the study's jobs that are not over: {id: {state, node, run}}."""
        runs = {
            f"{submission.job_id}_{task}": str(pack[0]["directory"])
            for submission in Jobs(self.study).open()
            for task, pack in enumerate(submission.packs)
        }
        out = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i|%T|%N"], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.strip().split("|") for line in out.splitlines() if line.strip()]
        return {row[0]: {"state": row[1], "node": row[2], "run": runs[row[0]]} for row in rows if row[0] in runs}

    def training(self, epochs: int = 3) -> dict[str, dict[str, str]]:
        """Wait until two runs train, some epochs in; give their jobs."""

        def far() -> bool:
            lines = [path.read_text().count("\n") for path in self.runs.glob("*/*/metrics.jsonl")]
            return len(lines) >= 2 and min(lines) >= epochs

        wait_for(far)
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


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.3)
