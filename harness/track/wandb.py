"""Weights & Biases: one of its runs for each of ours, grouped by study; the table and the report as artifacts."""

from __future__ import annotations

import csv
import netrc
import os
import re
import shlex
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlparse

from harness.errors import HarnessError, Problems
from harness.records.signature import digest
from harness.track.base import Tracked, Tracker, shown

MODES = (None, "online", "offline")
WANDB_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")  # that WANDB_MODE takes
NAME_CHARACTERS, TAG_CHARACTERS = 128, 64  # that W&B takes of a project, a group and a name, and of a tag
ARTIFACT_CHARACTERS = 120  # of the 128 of an artifact's name, which has a suffix
PROJECT = "harness"  # where neither the configuration nor W&B's own settings name one
NOT_IN_PROJECT = "/\\#?%:"
INIT_SECONDS = 10.0  # that a server may take to answer before the rest is written offline
FINISH_SECONDS = 20.0  # likewise, to take the rest of a run
TEARDOWN_SECONDS = 5.0  # that a service that cannot send may take to end; it then ends by itself
LISTED = 8  # directories that a command names one by one
REPORT_SUFFIXES = (".html", ".csv", ".md", ".tex", ".svg", ".png")


@dataclass
class WeightsAndBiases(Tracker):
    """Group = study, job type = phase (tune, confirm, single; report for the table and the page).

    What W&B's variables and settings files say holds wherever the configuration says nothing: WANDB_PROJECT,
    WANDB_ENTITY, WANDB_MODE, WANDB_DIR, WANDB_NOTES; WANDB_RUN_GROUP in place of the study's name; WANDB_NAME before
    the name of every run; WANDB_TAGS beside the tags of task, model and method.

    Attributes:
        name, wait_seconds: as in `Tracker`.
        project, entity: where the runs go; None: what W&B is set to, else `harness` and the account's default.
        mode: online | offline; None: what WANDB_MODE or `wandb offline` says, else online where an account is known.
    """

    name: str = "wandb"
    project: str | None = None
    entity: str | None = None
    mode: str | None = None
    wait_seconds: float = 60.0
    packages: ClassVar[tuple[str, ...]] = ("wandb",)
    surely: ClassVar[Mapping[str, Any]] = {"mode": "offline"}
    study: Path = field(init=False, default=Path())
    runs: dict[str, Any] = field(init=False, default_factory=dict)
    offline: bool = field(init=False, default=False)
    known: bool = field(init=False, default=False)  # whether there is an account
    written: list[Path] = field(init=False, default_factory=list)  # folders of runs that wait to be sent
    why: str = field(init=False, default="")
    group: str | None = field(init=False, default=None)
    prefix: str = field(init=False, default="")
    tags: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Check what W&B would refuse: the configuration, and the environment where that is what counts."""
        problems = Problems()
        problems.check(
            self.mode in MODES, f"tracker.wandb.mode must be one of online, offline or null, not {self.mode}."
        )
        said = os.environ.get("WANDB_MODE")
        problems.check(
            not said or self.mode is not None or said in WANDB_MODES,
            f"WANDB_MODE must be one of {', '.join(WANDB_MODES)}, not {said}: set or unset it.",
        )
        project, where = self.project, "tracker.wandb.project"
        if project is None:
            project, where = os.environ.get("WANDB_PROJECT"), "WANDB_PROJECT"
        project = str(project or PROJECT)
        found = [character for character in NOT_IN_PROJECT if character in project]
        problems.check(
            not found, f"{where}={project}: a project of W&B is named without {' '.join(NOT_IN_PROJECT)}; rename it."
        )
        problems.check(
            len(project) <= NAME_CHARACTERS,
            f"{where} has {len(project)} characters; W&B takes {NAME_CHARACTERS}: give a shorter name.",
        )
        key = os.environ.get("WANDB_API_KEY", "")
        problems.check(key == key.strip(), "WANDB_API_KEY begins or ends with white space: set it without.")
        problems.raise_any()

    def open(self, study: Path) -> None:
        """Take the study's folder, and see whether there is an account.

        Raises:
            HarnessError: the user has switched W&B off.
        """
        import wandb

        self.study = study
        self._take_environment()
        try:
            settings = wandb.setup().settings
        except ValueError as error:  # a variable that breaks W&B's rules, such as its URL
            reason = " ".join(str(error).split())
            raise HarnessError(f"W&B does not take what its environment variables or files say ({reason}).") from error
        # What the environment and W&B's own settings file (of `wandb offline`) say; without either it is `online`.
        mode = self.mode or str(settings.mode)
        asked = self.mode or os.environ.get("WANDB_MODE")
        if mode == "disabled":
            # As an error, nothing counts as told: it can all be sent later.
            raise HarnessError("W&B is switched off (mode disabled), so nothing is written or sent.")
        self.project = self.project or settings.project or PROJECT
        self.entity = self.entity or settings.entity or None
        self.group = settings.run_group or study.name
        self.prefix = f"{settings.run_name} " if settings.run_name else ""
        self.tags += settings.run_tags or ()
        self.known = bool(settings.api_key) or _has_account(str(settings.base_url))
        offline = mode in ("offline", "dryrun")
        self.offline = offline or (asked != "online" and not self.known)
        self.why = "offline was asked for" if offline else "nobody is logged in"

    def _take_environment(self) -> None:
        """Read what W&B would refuse or misread in this process; its service of an outer process is not ours to use."""
        if tags := os.environ.pop("WANDB_TAGS", ""):
            self.tags = [tag.strip() for tag in tags.split(",") if tag.strip()]
        os.environ.pop("WANDB_SERVICE", None)
        for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_GROUP", "WANDB_NAME", "WANDB_DIR"):
            if not os.environ.get(name, "x").strip() or (name == "WANDB_MODE" and self.mode is not None):
                os.environ.pop(name, None)

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
        self._begun(run).log({"epoch": number, "seconds": seconds, **values})

    def end(self, run: Tracked, results: Mapping[str, float]) -> None:
        """Write the summary and end the run: one that failed or was lost is marked as failed."""
        begun, record = self._begun(run), run.record
        del self.runs[run.name]
        begun.summary.update({**results, "status": record["status"], "error": record["error"]})
        self._finish(begun, int(record["status"] in ("failed", "lost")))

    def report(self, directory: Path, digest: str) -> None:
        """Log the table and the whole report in a run of its own."""
        import wandb

        run = self._init(digest, f"{self.study.name} report", "report", {}, [])
        with (directory / "table.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        run.log({"table": wandb.Table(columns=header, data=rows)})
        stem = cut(re.sub(r"[^A-Za-z0-9_.-]", "-", self.study.name), ARTIFACT_CHARACTERS)
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
        while self.runs:
            self._finish(self.runs.pop(next(iter(self.runs))), 1)
        _end_service()  # which writes what it still holds
        if not self.written:
            return []
        count = "1 run waits" if len(self.written) == 1 else f"{len(self.written)} runs wait"
        refused = "401" in self.why or "AuthenticationError" in self.why
        by_key = refused and os.environ.get("WANDB_API_KEY")
        how = (
            "To send what there is, set WANDB_API_KEY to a key that it takes, then"
            if by_key
            else "To send what there is"
        )
        login = "" if by_key or (self.known and not refused) else "wandb login --relogin && "
        return [f"W&B: {self.why}, so {count} on this disk. {how}: {login}wandb sync {self._unsent()}"]

    def _unsent(self) -> str:
        """What waits to be sent, as a shell takes it."""
        own = self.study / "wandb"
        offline = [path for path in self.written if path.name.startswith("offline-run-")]
        rest = [path for path in self.written if path not in offline]
        # Where W&B keeps the runs of others, too, ours are named.
        globbed = {path.parent for path in offline if path.parent == own or len(offline) > LISTED}
        rest += [path for path in offline if path.parent not in globbed]
        patterns = [f"{shlex.quote(shown(path))}/offline-run-*" for path in sorted(globbed)]
        return " ".join([*patterns, *(shlex.quote(shown(path)) for path in rest)])

    def _begun(self, run: Tracked) -> Any:
        """A run's handle; begun again offline where the server was lost."""
        if run.name not in self.runs:
            self.begin(run)
        return self.runs[run.name]

    def _finish(self, begun: Any, code: int) -> None:
        """End a run; what the server does not take in time waits on the disk."""
        try:
            begun.finish(exit_code=code)
        except TimeoutError:
            self.written.append(Path(begun.dir).parent)
            self._go_offline(f"the server did not take a run within {FINISH_SECONDS:g} s")

    def _init(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        if not self.offline:
            try:
                return self._start(key, name, kind, config, tags)
            except Exception as error:  # noqa: BLE001 -- of any kind: offline, it is all written none the less
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._go_offline(f"the server did not take it ({reason})")
        run = self._start(key, name, kind, config, tags)
        self.written.append(Path(run.dir).parent)
        return run

    def _go_offline(self, why: str) -> None:
        """Go on in a new service: the one that failed keeps the ids of its runs, and may go on trying to send."""
        self.offline, self.why = True, why
        # What these runs have been told lies on the disk; they are begun again when there is more to tell.
        self.written += [Path(run.dir).parent for run in self.runs.values()]
        self.runs = {}
        _end_service()

    def _start(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        import wandb

        # Nothing of the machine or the checkout: the process that W&B sees is not the one that computes.
        # The study waits for the report, which is large, as long as it waits for its tracker.
        settings = wandb.Settings(
            mode="offline" if self.offline else "online", root_dir=os.environ.get("WANDB_DIR") or str(self.study),
            init_timeout=INIT_SECONDS,
            finish_timeout=0 if self.offline or kind == "report" else FINISH_SECONDS,
            finish_timeout_raises=True,
            silent=True, console="off", save_code=False, disable_git=True,
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        return wandb.init(
            project=self.project, entity=self.entity, group=cut(self.group or self.study.name, NAME_CHARACTERS),
            job_type=kind, id=key, name=cut(self.prefix + name, NAME_CHARACTERS),
            tags=list(dict.fromkeys(cut(tag, TAG_CHARACTERS) for tag in (*tags, *self.tags) if tag)), config=config,
            resume="allow", reinit="create_new", settings=settings,
        )  # fmt: skip


def _end_service() -> None:
    """End W&B's service, for which it is not waited long: what it could not send lies on the disk."""
    import wandb

    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(TEARDOWN_SECONDS)


def cut(name: str, characters: int) -> str:
    """A name in so many characters; two that differ only beyond them stay apart by a hash."""
    return name if len(name) <= characters else f"{name[: characters - 9]}-{digest(name)[:8]}"


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
