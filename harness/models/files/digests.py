"""Digests of a model's files: what identifies a model, whatever its source."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.models.files.model_files import SETTINGS, TEMPLATES, content
from harness.records.files import atomic
from harness.records.signature import digest


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
    settings = {
        name: content(directory / name) for name in (SETTINGS, "tokenizer_config.json") if (directory / name).is_file()
    }
    return digest([model, "generation", templates, settings]) if templates or settings else model


def settings_digest(model: str, directory: Path) -> str:
    """Return the digest of a model that rewrites texts: that of its files, and of settings that config.json has not.

    Settings that repeat config.json change nothing, and models without others keep the digest that they had.

    Args:
        model: digest of its files.
        directory: those files.
    """
    settings, config = content(directory / SETTINGS), content(directory / "config.json")
    if not isinstance(settings, dict) or not isinstance(config, dict):
        return model if settings is None else digest([model, "generation", settings])
    own = {key: value for key, value in settings.items() if key != "_from_model_config" and config.get(key) != value}
    return digest([model, "generation", own]) if own else model


def sha256(file: Path, remembered: Path) -> str:
    """Return a file's SHA-256, cached by real path, size and modification time."""
    stat = file.stat()
    key = hashlib.sha256(f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()
    note = remembered / key
    if note.is_file() and len(known := note.read_text(encoding="ascii").strip()) == 64:
        return known
    with file.open("rb") as content:
        value = hashlib.file_digest(content, "sha256").hexdigest()
    if os.access(_existing(remembered), os.W_OK):
        with atomic(note) as temporary:
            temporary.write_text(value + "\n", encoding="ascii")
    return value


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
