"""Upload an export to the Hugging Face hub."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, Problems
from harness.models.loading import brief

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_push(name: str, public: bool) -> None:
    """Check a repository's name, that the hub answers, and that who asks may write, before anything is computed.

    Args:
        name: of the repository.
        public: whether everybody may read it.

    Raises:
        HarnessError: the name is none, nobody is logged in, the hub is out of reach, the token may only read, the owner
            is somebody else, or a repository of this name is public and this is not to be.
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
    token, another = _token()
    try:
        user = api.whoami()
        with suppress(RepositoryNotFoundError):  # it is made
            shown = not api.model_info(name).private
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = f"does not accept {token}: {another}" if status in (401, 403) else f"answered {status}: try again later"
        raise HarnessError(f"--push needs the hub, and {api.endpoint} {why}, or leave --push out.") from error
    except Exception as error:  # of its HTTP client
        raise HarnessError(
            f"--push needs the hub, and {api.endpoint} cannot be reached ({brief(error)[:200]}): try again with a "
            "network, or leave --push out."
        ) from error
    problems = Problems()
    _check_rights(name, user, problems)
    problems.check(
        public or not shown,
        f"--push {name} is a repository that everybody reads: add --public, or name another one, which is made "
        "private.",
    )
    problems.raise_any()


def _token() -> tuple[str, str]:
    """Return which token is used, and how to use another one; variables precede a login (`get_token`)."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(variable):
            return f"the token in {variable}", f"set {variable} to another one, or unset it and run `hf auth login`"
    return "the token of this machine", "run `hf auth login --force`"


def _check_rights(name: str, user: Mapping[str, Any], problems: Problems) -> None:
    """Report a token that may only read, and an owner for whom the user cannot write.

    Args:
        name: of the repository.
        user: the hub's answer to `whoami`; what it does not say is not checked.
        problems: collects them.
    """
    token, another = _token()
    role = ((user.get("auth") or {}).get("accessToken") or {}).get("role")
    problems.check(role != "read", f"--push needs a token that may write, and {token} may only read: {another}.")
    owner, _, model = name.partition("/")
    own = [user["name"], *(each["name"] for each in user.get("orgs") or ())] if "name" in user else [owner]
    problems.check(
        owner.lower() in [each.lower() for each in own],
        f"--push {name}: {token} is of {own[0]}, who is not a member of {owner}. Name an owner among {', '.join(own)}: "
        f"--push {own[0]}/{model}",
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
            f"hf upload {name} {shlex.quote(str(directory))}{'' if public else ' --private'}"
        ) from error
    return address
