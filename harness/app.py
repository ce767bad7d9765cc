"""The command line: Hydra's entry, one run, and errors in plain words."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config import Config
from harness.errors import HarnessError, is_disk_full
from harness.typed import as_typed

SHOWN_GROUPS = ("task", "model", "method", "regularise", "augment", "sweeps", "slurm", "tracker", "hardware")


def config_root() -> Path:
    """The directory that holds conf/, sweeps/ and slurm/: the package in an installed wheel, else the repository."""
    package = Path(__file__).resolve().parent
    return package if (package / "conf").is_dir() else package.parent


def main() -> None:
    """Run the command line; leave with 2 and a plain message for a user's mistake."""
    _register()
    if len(sys.argv) > 1 and sys.argv[1] in ("--version", "-V"):
        from harness import __version__

        print(f"harness {__version__}")  # noqa: T201 - the answer to --version
        return
    sys.argv[1:] = as_typed(_flags_first(sys.argv[1:]))
    # Hydra prints its errors itself unless this is set; then they reach us and are put in the configuration's words.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra_main(version_base="1.3", config_path=str(config_root() / "conf"), config_name="config")(_single)()
    except HarnessError as error:
        _fail(error.problems)
    except (HydraException, OmegaConfBaseException) as error:
        from harness.sweep.explain import explain

        _fail(tuple(explain(error, _any_config())))
    except ValueError as error:
        if "Config group override must be" not in str(error):  # Hydra's answer to <group>=null
            raise
        _fail(_without_choice(sys.argv[1:]))
    except OSError as error:
        if not is_disk_full(error):
            raise
        where = f" ({error.filename})" if error.filename else ""
        _fail(
            (
                f"The disk is full{where}. Nothing that has a record is lost: free space for runs_dir, reports_dir and "
                "cache_dir, and run the same command again.",
            )
        )
    except KeyboardInterrupt:
        _say("Interrupted.")
        sys.exit(130)


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="schema", node=Config, provider="harness")
    OmegaConf.register_new_resolver("harness.root", lambda: config_root().as_posix(), replace=True)
    OmegaConf.register_new_resolver("harness.choices", _choices, replace=True)


def _flags_first(arguments: list[str]) -> list[str]:
    """Put overrides behind flags: Hydra's parser wants all overrides in one place, people put them anywhere."""
    overrides = [argument for argument in arguments if re.match(r"[+~]*[\w./@]+=|~", argument)]
    return [argument for argument in arguments if argument not in overrides] + overrides


def _choices() -> str:
    return "\n".join(f"  {group:10} {', '.join(_names(group))}" for group in SHOWN_GROUPS)


def _names(group: str) -> list[str]:
    parent = config_root() / ("" if group in ("sweeps", "slurm") else "conf")
    return sorted(path.stem for path in (parent / group).glob("*.yaml"))


def _without_choice(arguments: list[str]) -> tuple[str, ...]:
    """What to write instead of <group>=null; where no argument is that, it was written in sweeps/*.yaml."""
    groups = [match[1] for each in arguments if (match := re.fullmatch(r"\+*([\w/]+)=null", each, re.IGNORECASE))]
    return tuple(
        f"{group}=null: this key takes a name: {', '.join(_names(group)) or 'that of a file in its directory'}. "
        + (f"For none of them: {group}=none." if "none" in _names(group) else f"Leave {group}= out for its default.")
        for group in [each for each in groups if each in SHOWN_GROUPS] or ["<group>"]
    )


def _single(config: DictConfig) -> None:
    """One run, in this process."""
    from harness.sweep.single import run_single

    try:
        code = run_single(config)
    except HarnessError as error:
        _fail(error.problems)  # here, since Hydra prints a line of its own about an exception that leaves a job
    if code:
        sys.exit(code)


def _any_config() -> DictConfig | None:
    """A configuration near the one that could not be composed, for the names of keys that exist."""
    choices = [argument for argument in sys.argv[1:] if re.fullmatch(r"(task|model|method)=[\w-]+", argument)]
    for overrides in (choices, []):
        try:
            with initialize_config_dir(str(config_root() / "conf"), version_base="1.3"):
                return compose("config", overrides)
        except (HydraException, OmegaConfBaseException):
            continue
    return None


def _fail(problems: tuple[str, ...]) -> NoReturn:
    for problem in problems:
        _say(f"Error: {problem}")
    sys.exit(2)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the command line's own words
