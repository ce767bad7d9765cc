"""Weights & Biases: one W&B run per run, grouped by study; the table and the report as artifacts."""

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
from harness.records.states import FAILURES
from harness.track.base import Tracked, Tracker, shown
from harness.track.wandb_settings import PREFIX, wrong_settings

MODES = (None, "online", "offline")
WANDB_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")  # valid values of WANDB_MODE
NAME_CHARACTERS, TAG_CHARACTERS = 128, 64  # W&B's limits for projects, groups and names, and for tags
ARTIFACT_CHARACTERS = 120  # of 128 in an artifact's name; the rest is for a suffix
PROJECT = "harness"  # default, if neither the configuration nor W&B's settings name a project
NOT_IN_PROJECT = "/\\#?%:"
INIT_SECONDS = 10.0  # time limit for the server's answer, after which the rest is written offline
FINISH_SECONDS = 20.0  # likewise, for the upload of the rest of a run
TEARDOWN_SECONDS = 5.0  # how long to wait for a service that cannot send; it then ends by itself
LISTED = 8  # maximum number of directories that a command lists one by one
REPORT_SUFFIXES = (".html", ".csv", ".md", ".tex", ".svg", ".png")


@dataclass
class WeightsAndBiases(Tracker):
    """Sends runs to Weights & Biases. Group = study, job type = phase (tune, confirm, single; report for the report).

    W&B's environment variables and settings files apply where the configuration sets nothing: WANDB_PROJECT,
    WANDB_ENTITY, WANDB_MODE, WANDB_DIR, WANDB_NOTES; WANDB_RUN_GROUP replaces the study's name; WANDB_NAME is a prefix
    of every run's name; WANDB_TAGS are added to the tags of task, model and method.

    Attributes:
        name, wait_seconds: as in `Tracker`.
        project, entity: destination of the runs; None: W&B's settings, else `harness` and the account's default.
        mode: online | offline; None: WANDB_MODE or `wandb offline`, else online if an account is known.
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
    known: bool = field(init=False, default=False)  # whether credentials were found
    written: list[Path] = field(init=False, default_factory=list)  # directories of runs that were not sent
    why: str = field(init=False, default="")
    group: str | None = field(init=False, default=None)
    prefix: str = field(init=False, default="")
    tags: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Check the rules of W&B for the configuration and, where it sets nothing, for the environment."""
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
        url = os.environ.get("WANDB_BASE_URL", "").strip()
        problems.check(
            not url or re.match(r"https?://[^/\s]", url) is not None,
            f"WANDB_BASE_URL={url} is no address such as https://wandb.example.org: correct or unset it.",
        )
        entity, where = self.entity, "tracker.wandb.entity"
        if entity is None:
            entity, where = os.environ.get("WANDB_ENTITY"), "WANDB_ENTITY"
        problems.check(
            "/" not in str(entity or ""),
            f"{where}={entity}: a user or team is named without /; the project is tracker.wandb.project.",
        )
        for name, value in sorted(os.environ.items()):
            odd = name.startswith(PREFIX) and not value.isascii() and value.encode("utf-8", "replace").decode() != value
            problems.check(not odd, f"{name} is not UTF-8, which W&B needs: set it in UTF-8.")
        own = os.environ.get("WANDB_DIR", "").strip()
        problems.check(
            not own or _can_hold(Path(own).expanduser()),
            f"WANDB_DIR={own} is no directory that can be written to, and W&B would write to a temporary one: name "
            "another, or unset it for the study's own.",
        )
        key = os.environ.get("WANDB_API_KEY", "")
        problems.check(key == key.strip(), "WANDB_API_KEY begins or ends with white space: set it without.")
        problems.raise_any()

    def check_settings(self) -> None:
        """Check W&B's environment variables and settings files by its own rules.

        Raises:
            HarnessError: W&B does not take one.
        """
        if wrong := wrong_settings():
            raise HarnessError(*wrong)

    def open(self, study: Path) -> None:
        """Read W&B's settings, and check whether there is an account.

        Raises:
            HarnessError: the user has disabled W&B, or its environment variables or files are invalid.
        """
        import wandb

        self.study = study
        self._take_environment()
        try:
            settings = wandb.setup().settings
        except ValueError as error:  # a variable that breaks W&B's rules, such as an invalid URL
            reason = " ".join(str(error).split())
            raise HarnessError(f"W&B does not take what its environment variables or files say ({reason}).") from error
        # The mode from the environment or W&B's settings file (written by `wandb offline`); the default is `online`.
        mode = self.mode or str(settings.mode)
        asked = self.mode or os.environ.get("WANDB_MODE")
        if mode == "disabled":
            # By raising, nothing counts as sent, so everything can be sent later.
            raise HarnessError("W&B is switched off (mode disabled), so nothing is written or sent.")
        self.project = self.project or settings.project or PROJECT
        self.entity = self.entity or settings.entity or None
        self.group = settings.run_group or study.name
        self.prefix = f"{settings.run_name} " if settings.run_name else ""
        self.tags += settings.run_tags or ()
        self.known = bool(settings.api_key) or _has_account(str(settings.base_url))
        offline = mode in ("offline", "dryrun")
        self.offline = offline or (asked != "online" and not self.known)
        self.why = "offline mode was requested" if offline else "no account is logged in"

    def _take_environment(self) -> None:
        """Remove variables that W&B would refuse or misread in this process, and the service of an outer process."""
        if tags := os.environ.pop("WANDB_TAGS", ""):
            self.tags = [tag.strip() for tag in tags.split(",") if tag.strip()]
        # Ids are the runs' own; in a job that W&B started, these name the run of that job.
        for name in ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
            os.environ.pop(name, None)
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            if not os.environ[name].strip() or (name == "WANDB_MODE" and self.mode is not None):
                del os.environ[name]

    def begin(self, run: Tracked) -> None:
        """Start a W&B run with the run's id, or resume it."""
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
        """Write the summary and finish the run; a failed or lost run is marked as failed."""
        begun, record = self._begun(run), run.record
        del self.runs[run.name]
        begun.summary.update({**results, "status": record["status"], "error": record["error"]})
        self._finish(begun, int(record["status"] in FAILURES))

    def report(self, directory: Path, digest: str) -> None:
        """Log the table and the whole report as a separate W&B run."""
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
        """Finish the open runs, which can be resumed; return a sentence with the command that sends the rest."""
        while self.runs:
            self._finish(self.runs.pop(next(iter(self.runs))), 1)
        _end_service()  # which writes its remaining data
        if not self.written:
            return []
        count = "1 run waits" if len(self.written) == 1 else f"{len(self.written)} runs wait"
        refused = "401" in self.why or "AuthenticationError" in self.why
        by_key = refused and os.environ.get("WANDB_API_KEY")
        how = "To send them, set WANDB_API_KEY to a key that it takes, then" if by_key else "To send them"
        login = "" if by_key or (self.known and not refused) else "wandb login --relogin && "
        return [f"W&B: {self.why}, so {count} on this disk. {how}: {login}wandb sync {self._unsent()}"]

    def _unsent(self) -> str:
        """Return shell patterns for the directories of the runs that were not sent."""
        own = self.study / "wandb"
        offline = [path for path in self.written if path.name.startswith("offline-run-")]
        rest = [path for path in self.written if path not in offline]
        # If the directory also contains runs of others, list ours one by one.
        globbed = {path.parent for path in offline if path.parent == own or len(offline) > LISTED}
        rest += [path for path in offline if path.parent not in globbed]
        patterns = [f"{shlex.quote(shown(path))}/offline-run-*" for path in sorted(globbed)]
        return " ".join([*patterns, *(shlex.quote(shown(path)) for path in rest)])

    def _begun(self, run: Tracked) -> Any:
        """Return a run's handle; start it again, offline, if the connection to the server was lost."""
        if run.name not in self.runs:
            self.begin(run)
        return self.runs[run.name]

    def _finish(self, begun: Any, code: int) -> None:
        """Finish a run; if the server does not receive it in time, it stays on disk."""
        try:
            begun.finish(exit_code=code)
        except TimeoutError:
            self.written.append(Path(begun.dir).parent)
            self._go_offline(f"the server did not take a run within {FINISH_SECONDS:g} s")

    def _init(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        if not self.offline:
            try:
                return self._start(key, name, kind, config, tags)
            except Exception as error:  # noqa: BLE001 -- whatever the error, everything can be written offline
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._go_offline(f"the server did not take it ({reason})")
        run = self._start(key, name, kind, config, tags)
        self.written.append(Path(run.dir).parent)
        return run

    def _go_offline(self, why: str) -> None:
        """Switch to a new, offline service: the failed one keeps the ids of its runs, and may go on trying to send."""
        self.offline, self.why = True, why
        # The data of these runs is on disk; they are started again when there is new data.
        self.written += [Path(run.dir).parent for run in self.runs.values()]
        self.runs = {}
        _end_service()

    def _start(self, key: str, name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
        import wandb

        # No facts about machine or checkout: this process is not the one that trains.
        # There is no time limit for the report, which is large, except that the study stops waiting for its tracker.
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
    """End W&B's service, waiting only a short time: unsent data is on disk."""
    import wandb

    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(TEARDOWN_SECONDS)


def cut(name: str, characters: int) -> str:
    """Shorten a name to a maximum length; a hash keeps names apart that differ only in what is cut off."""
    return name if len(name) <= characters else f"{name[: characters - 9]}-{digest(name)[:8]}"


def _can_hold(directory: Path) -> bool:
    """Return whether a directory can be written to, or made."""
    there = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _has_account(url: str) -> bool:
    """Return whether `wandb login` or the environment provides credentials; their content is not read."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(url).hostname or ""
    for path in (os.environ.get("NETRC"), Path.home() / ".netrc", Path.home() / "_netrc"):
        with suppress(OSError, netrc.NetrcParseError):
            if path and netrc.netrc(str(path)).authenticators(host):
                return True
    return False
