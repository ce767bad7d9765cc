"""Files beside the weights that change what a language model reads and writes: chat templates, generation settings.

They are no part of the digest of a backbone, whose vectors do not depend on them.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.records.signature import digest

SETTINGS, TOKENIZER = "generation_config.json", "tokenizer_config.json"
TEMPLATES = ("chat_template*", "additional_chat_templates/*")
FETCHED = (SETTINGS, *TEMPLATES)  # patterns of files that are fetched with a model besides those of its backbone
TEMPLATE = "chat_template.jinja"
_VERSION = "transformers_version"  # who wrote a file, not what is in it


def generation_digest(model: str, directory: Path) -> str:
    """Return the digest of a language model: that of its backbone, and of the files that generation reads besides.

    Args:
        model: digest of the backbone.
        directory: the model's files.
    """
    templates = {
        file.relative_to(directory).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for pattern in TEMPLATES
        for file in directory.glob(pattern)
        if file.is_file()
    }
    # Where files are pinned, the digest of the backbone may leave out the tokenizer's settings, and their template.
    settings = {name: _content(directory / name) for name in (SETTINGS, TOKENIZER) if (directory / name).is_file()}
    return digest([model, "generation", templates, settings]) if templates or settings else model


def settings_digest(model: str, directory: Path) -> str:
    """Return the digest of a model that rewrites texts: that of its files, and of settings that config.json has not.

    Settings that repeat config.json change nothing, and models without others keep the digest that they had.

    Args:
        model: digest of its files.
        directory: those files.
    """
    settings, config = _content(directory / SETTINGS), _content(directory / "config.json")
    if not isinstance(settings, dict) or not isinstance(config, dict):
        return model if settings is None else digest([model, "generation", settings])
    own = {key: value for key, value in settings.items() if key != "_from_model_config" and config.get(key) != value}
    return digest([model, "generation", own]) if own else model


def not_fetched(snapshot: Path) -> list[str]:
    """List the files of a snapshot in the hub's cache that its repository may have, and that were not fetched.

    Another program, or a task of a family that reads none of them, may have fetched the rest.
    """
    wanted = [SETTINGS]
    tokenizer = _content(snapshot / TOKENIZER)
    if not (isinstance(tokenizer, dict) and tokenizer.get("chat_template")) and not any(snapshot.glob("chat_template*")):
        wanted.append(TEMPLATE)
    return [name for name in wanted if not (snapshot / name).is_file() and not (_absent(snapshot) / name).is_file()]


def remember_absent(snapshot: Path) -> None:
    """Mark the files that a snapshot lacks after all of `FETCHED` were asked for, as the hub's own cache does."""
    with suppress(OSError):
        for name in not_fetched(snapshot):
            _absent(snapshot).mkdir(parents=True, exist_ok=True)
            (_absent(snapshot) / name).touch()


def _absent(snapshot: Path) -> Path:
    """The directory in which the hub's cache marks files that a revision does not have."""
    return snapshot.parents[1] / ".no_exist" / snapshot.name


def _content(file: Path) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    return {key: value for key, value in found.items() if key != _VERSION} if isinstance(found, dict) else found
