"""What W&B's environment variables and settings files say, read by W&B's own rules before a study starts.

Reading them needs the package wandb, whose import takes a second and starts threads, so a process of its own does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

PREFIX = "WANDB_"
# Any text is valid here, or `WeightsAndBiases` checks or removes them itself.
FREE = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "API_KEY", "PROJECT", "ENTITY", "NAME", "NOTES", "TAGS", "RUN_GROUP", "DIR", "BASE_URL", "MODE", "CACHE_DIR",
        "DATA_DIR", "CONFIG_DIR", "ARTIFACT_DIR", "SERVICE", "RUN_ID", "RESUME", "SWEEP_ID", "SWEEP_PARAM_PATH",
    )
)  # fmt: skip
_COMMAND = "from harness.track.wandb_settings import main; main()"
SECONDS = 60.0  # after which the variables are left to the tracker's own process
_WANTS = {"bool_parsing": "true or false", "float_parsing": "a number", "int_parsing": "a whole number"}


def wrong_settings() -> list[str]:
    """Return a sentence for each variable or file that W&B does not take; [] if wandb is not there to ask."""
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value.strip()}
    if not given.keys() - FREE and not any(file.is_file() for file in _files()):
        return []
    package = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-c", _COMMAND]
    with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS,
            env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
        return found
    return []


def _files() -> tuple[Path, ...]:
    """The settings files of the user and of the current directory."""
    own = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    with suppress(RuntimeError):  # the user has no home directory
        return Path(own).expanduser() / "settings", Path("wandb/settings"), Path(".wandb/settings")
    return (Path("wandb/settings"), Path(".wandb/settings"))


def _wrong() -> Iterator[str]:
    from wandb.errors import UsageError
    from wandb.sdk.wandb_settings import Settings

    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIX) and name not in FREE and value.strip():
            try:
                Settings().update_from_env_vars({name: value})
            except (ValueError, UsageError) as error:
                yield f"{name}={value}: W&B takes {_wants(error)} there. Correct or unset it."
    settings = Settings()
    if own := os.environ.get("WANDB_CONFIG_DIR"):
        settings.settings_system = str(Path(own).expanduser() / "settings")
    # W&B itself leaves out a file with one wrong entry, so that a `mode = offline` in it would have no effect.
    files = " or ".join(str(file) for file in _files() if file.is_file())
    try:
        found = settings.read_system_settings().all()
    except AttributeError:  # an earlier version of wandb, which raises such errors itself
        return
    except Exception as error:  # noqa: BLE001 -- of several parsers
        yield f"W&B's settings file {files} cannot be read ({' '.join(str(error).split())}). Correct or remove it."
        return
    for key, value in found.items():
        try:
            Settings(**{key: value.split(",") if key == "ignore_globs" else value})
        except (ValueError, UsageError) as error:
            yield f"W&B's settings file {files} sets {key}={value}: W&B takes {_wants(error)} there. Correct it."


def _wants(error: Exception) -> str:
    details = _details(error)
    expected = (details.get("ctx") or {}).get("expected")
    return _WANTS.get(str(details.get("type"))) or str(expected or " ".join(str(error).split()))


def _details(error: Any) -> dict[str, Any]:
    """Return pydantic's facts of an error; {} for others."""
    found = error.errors() if hasattr(error, "errors") else []
    return dict(found[0]) if found else {}


def main() -> None:
    """Print the sentences as JSON on the last line."""
    sys.stdout.write("\n" + json.dumps(list(_wrong())) + "\n")
