"""A model's files in the local cache of the hub, and on the hub."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from harness.errors import HarnessError, typed
from harness.models.files.model_files import ADAPTER, GENERATION, PATTERNS, SETTINGS, check_directory, content

HUB_SECONDS = 4.0  # time for a first answer before the hub counts as unreachable


def from_cache(repository: str, revision: str | None) -> Path | str:
    """Return the snapshot in the local cache if it is complete, else why not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except HFValidationError as error:
        local = f" For a directory: {typed('model.path', repository)}." if Path(repository).is_dir() else ""
        raise HarnessError(
            f"model.hub={repository} is not the name of a repository (owner/name): {error}.{local}"
        ) from None
    except (LocalEntryNotFoundError, OSError):
        local = (
            f" (for the directory of this name: {typed('model.path', repository)})" if Path(repository).is_dir() else ""
        )
        return f"{repository} is not in the local cache{local}"
    try:
        check_directory(path, repository)
    except HarnessError as error:
        # Another program may have downloaded only part of it.
        return f"{repository} in the local cache cannot be used: {error.problems[0].rstrip('.')}"
    return path


def from_hub(repository: str, revision: str | None, cached: str) -> Path | str:
    """Download a snapshot; return its path, or why there is none.

    Args:
        repository, revision: the snapshot.
        cached: why the local cache cannot be used.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return f"{cached}, and HF_HUB_OFFLINE forbids the hub"
    if not _hub_answers(constants.ENDPOINT):
        return f"{cached}, and the hub ({constants.ENDPOINT}) does not answer"
    try:
        path = Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=[*PATTERNS, *GENERATION, ADAPTER[0]], etag_timeout=5
            )
        )
    except GatedRepoError:
        raise HarnessError(
            f"model.hub={repository} is gated: accept its terms on the hub, then `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise HarnessError(f"model.hub={repository} has no revision {revision}: set model.revision.") from None
    except RepositoryNotFoundError:
        raise HarnessError(
            f"model.hub={repository} is not on the hub, or is private: check its spelling (owner/name), or run "
            "`hf auth login`."
        ) from None
    except (HfHubHTTPError, OSError) as error:
        return f"{repository} could not be fetched from the hub ({type(error).__name__})"
    check_directory(path, f"model.hub={repository}")
    return path


def not_fetched(snapshot: Path) -> list[str]:
    """List the files of a snapshot in the hub's cache that its repository may have, and that were not fetched.

    Another program, or a task of a family that reads none of them, may have fetched the rest.
    """
    wanted = [SETTINGS]
    tokenizer = content(snapshot / "tokenizer_config.json")
    if not (isinstance(tokenizer, dict) and tokenizer.get("chat_template")) and not any(
        snapshot.glob("chat_template*")
    ):
        wanted.append("chat_template.jinja")
    return [name for name in wanted if not (snapshot / name).is_file() and not (_absent(snapshot) / name).is_file()]


def remember_absent(snapshot: Path) -> None:
    """Mark the files that a snapshot lacks after all of `GENERATION` were asked for, as the hub's own cache does."""
    with suppress(OSError):
        for name in not_fetched(snapshot):
            _absent(snapshot).mkdir(parents=True, exist_ok=True)
            (_absent(snapshot) / name).touch()


def _absent(snapshot: Path) -> Path:
    """The directory in which the hub's cache marks files that a revision does not have."""
    return snapshot.parents[1] / ".no_exist" / snapshot.name


@cache
def _hub_answers(endpoint: str) -> bool:
    """Return whether the hub answers, tested once per process; in a thread, since name resolution ignores timeouts."""
    from huggingface_hub import get_session

    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=HUB_SECONDS)
        except Exception:  # noqa: BLE001 -- any error means that the hub is unreachable
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return answered.is_set()
