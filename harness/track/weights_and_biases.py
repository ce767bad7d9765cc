"""Weights & Biases: one of its runs for each of ours, grouped by study; the table and the report as artifacts."""

from __future__ import annotations

import csv
import netrc
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlparse

from harness.errors import HarnessError
from harness.track.base import Tracked, Tracker, shown

MODES = (None, "online", "offline")
ARTIFACT_CHARACTERS, TAG_CHARACTERS = 120, 64  # W&B takes 128 of an artifact's name, with its suffix, and 64 of a tag
INIT_SECONDS = 20.0  # that a server may take to answer before the rest is written offline
REPORT_SUFFIXES = (".html", ".csv", ".md", ".tex", ".svg", ".png")


@dataclass
class WeightsAndBiases(Tracker):
    """Group = study, job type = phase (tune, confirm, single; report for the table and the page).

    Attributes:
        name, wait_seconds: as in `Tracker`.
        project, entity: where the runs go.
        mode: online | offline; None: what WANDB_MODE or `wandb offline` says, else online where an account is known.
    """

    name: str = "wandb"
    project: str = "harness"
    entity: str | None = None
    mode: str | None = None
    wait_seconds: float = 60.0
    packages: ClassVar[tuple[str, ...]] = ("wandb",)
    study: Path = field(init=False, default=Path())
    runs: dict[str, Any] = field(init=False, default_factory=dict)
    offline: bool = field(init=False, default=False)
    written: list[Path] = field(init=False, default_factory=list)  # folders of offline runs
    why: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Check the mode."""
        if self.mode not in MODES:
            raise HarnessError(f"tracker.wandb.mode must be one of online, offline or null, not {self.mode}.")

    def open(self, study: Path) -> None:
        """Take the study's folder, and see whether there is an account.

        Raises:
            HarnessError: the user has switched W&B off.
        """
        import wandb

        self.study = study
        settings = wandb.setup().settings
        # What the environment and W&B's own settings file (of `wandb offline`) say; without either it is `online`.
        mode = self.mode or str(settings.mode)
        asked = self.mode or os.environ.get("WANDB_MODE")
        if mode == "disabled":
            # As an error, nothing counts as told: it can all be sent later.
            raise HarnessError("W&B is switched off (mode disabled), so nothing is written or sent.")
        known = bool(settings.api_key) or _has_account(str(settings.base_url))
        offline = mode in ("offline", "dryrun")
        self.offline = offline or (asked != "online" and not known)
        self.why = "offline was asked for" if offline else "nobody is logged in"

    def begin(self, run: Tracked) -> None:
        """Begin a run of the same identity, or go on with it."""
        if (earlier := self.runs.pop(run.name, None)) is not None:
            earlier.finish(exit_code=1)
        record = run.record
        config = dict(run.config) | {
            "cell": record["cell"], "variant": dict(record["variant"]), "trial": record["trial"],
            "hyperparameters": dict(record["hyperparameters"]), "signature": record["signature"],
        }  # fmt: skip
        self.runs[run.name] = begun = self._init(
            run.id, run.name, record["phase"], config, [record[key] for key in ("task", "model", "method")]
        )
        begun.define_metric("epoch")
        for part in ("train/*", "val/*", "fold*"):
            begun.define_metric(part, step_metric="epoch")

    def epoch(self, run: Tracked, number: int, values: Mapping[str, float], seconds: float) -> None:
        """Log a point of each curve."""
        self.runs[run.name].log({"epoch": number, "seconds": seconds, **values})

    def end(self, run: Tracked, results: Mapping[str, float]) -> None:
        """Write the summary and end the run: one that failed or was lost is marked as failed."""
        begun, record = self.runs.pop(run.name), run.record
        begun.summary.update({**results, "status": record["status"], "error": record["error"]})
        begun.finish(exit_code=int(record["status"] in ("failed", "lost")))

    def report(self, directory: Path, digest: str) -> None:
        """Log the table and the whole report in a run of its own."""
        import wandb

        run = self._init(digest, f"{self.study.name} report", "report", {}, [])
        with (directory / "table.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        run.log({"table": wandb.Table(columns=header, data=rows)})
        stem = re.sub(r"[^A-Za-z0-9_.-]", "-", self.study.name)[:ARTIFACT_CHARACTERS]
        table, report = (wandb.Artifact(f"{stem}-{what}", type=what) for what in ("table", "report"))
        table.add_file(str(directory / "table.csv"))
        for path in sorted(directory.rglob("*")):
            if path.suffix in REPORT_SUFFIXES and path.is_file():
                report.add_file(str(path), name=path.relative_to(directory).as_posix())
        run.log_artifact(table)
        run.log_artifact(report)
        run.finish()

    def close(self) -> list[str]:
        """Leave what has not ended as it is, and say where everything is."""
        for run in self.runs.values():
            run.finish(exit_code=1)
        self.runs = {}
        if not self.written:
            return []
        count = "1 run waits" if len(self.written) == 1 else f"{len(self.written)} runs wait"
        return [
            f"W&B: {self.why}, so {count} on this disk. To send what there is: wandb login && "
            f"wandb sync {shown(self.study / 'wandb')}/offline-run-*"
        ]

    def _init(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        import wandb

        if not self.offline:
            try:
                return self._start(key, name, kind, config, tags)
            except wandb.errors.Error as error:
                self.offline, self.why = True, f"the server did not take it ({type(error).__name__}: {error})"
        run = self._start(key, name, kind, config, tags)
        self.written.append(Path(run.dir).parent)
        return run

    def _start(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        import wandb

        # Nothing of the machine or the checkout: the process that W&B sees is not the one that computes.
        settings = wandb.Settings(
            mode="offline" if self.offline else "online", root_dir=str(self.study), init_timeout=INIT_SECONDS,
            silent=True, console="off", save_code=False, disable_git=True,
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        return wandb.init(
            project=self.project, entity=self.entity, group=self.study.name, job_type=kind, id=key, name=name,
            tags=[tag[:TAG_CHARACTERS] for tag in tags], config=config, resume="allow", reinit="create_new",
            settings=settings,
        )  # fmt: skip


def _has_account(url: str) -> bool:
    """Whether `wandb login` or the environment has left credentials; their content is not read here."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(url).hostname or ""
    for path in (os.environ.get("NETRC"), Path.home() / ".netrc", Path.home() / "_netrc"):
        with suppress(OSError, netrc.NetrcParseError):
            if path and netrc.netrc(str(path)).authenticators(host):
                return True
    return False
