"""Upload an export to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import HarnessError
from harness.models.loading import brief

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_push(name: str) -> None:
    """Check a repository's name, and that there is a token, before anything is computed.

    Raises:
        HarnessError: the name is none, or nobody is logged in.
    """
    if not _NAME.fullmatch(name):
        raise HarnessError(f"--push {name} is no repository of the hub: write OWNER/NAME.")
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        raise HarnessError("--push needs the hub, and HF_HUB_OFFLINE is set: unset it, or leave --push out.")
    if not get_token():
        raise HarnessError("--push needs a login at the hub: run `hf auth login` once, or leave --push out.")


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
