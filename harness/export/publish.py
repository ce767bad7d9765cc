"""Upload an export to the Hugging Face hub."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError
from harness.models.loading import brief

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_push(name: str, public: bool) -> None:
    """Check a repository's name, and that the hub answers and knows who asks, before anything is computed.

    Args:
        name: of the repository.
        public: whether everybody may read it.

    Raises:
        HarnessError: the name is none, nobody is logged in, the hub is out of reach, or a repository of this name is
            public and this is not to be.
    """
    if not _NAME.fullmatch(name):
        raise HarnessError(f"--push {name} is no repository of the hub: write OWNER/NAME.")
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    if HF_HUB_OFFLINE:
        raise HarnessError("--push needs the hub, and HF_HUB_OFFLINE is set: unset it, or leave --push out.")
    if not get_token():
        raise HarnessError("--push needs a login at the hub: run `hf auth login` once, or leave --push out.")
    api = HfApi()
    shown = False
    try:
        api.whoami()
        with suppress(RepositoryNotFoundError):  # it is made
            shown = not api.model_info(name).private
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = (
            "does not accept the token of this machine: run `hf auth login` again"
            if status in (401, 403)
            else f"answered {status}: try again later"
        )
        raise HarnessError(f"--push needs the hub, and {api.endpoint} {why}, or leave --push out.") from error
    except Exception as error:  # of its HTTP client
        raise HarnessError(
            f"--push needs the hub, and {api.endpoint} cannot be reached ({brief(error)[:200]}): try again with a "
            "network, or leave --push out."
        ) from error
    if shown and not public:
        raise HarnessError(
            f"--push {name} is a repository that everybody reads: add --public, or name another one, which is made "
            "private."
        )


def push(directory: Path, name: str, public: bool) -> str:
    """Upload a folder; return the address of the repository.

    Raises:
        HarnessError: the hub refuses, or is out of reach; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = str(api.create_repo(name, private=not public, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=str(directory), commit_message="Export of harness")
    except Exception as error:  # the library and its HTTP client have many
        raise HarnessError(
            f"The hub did not take {directory} as {name} ({brief(error)[:200]}). The folder is complete; to try again: "
            f"hf upload {name} {directory}"
        ) from error
    return address
