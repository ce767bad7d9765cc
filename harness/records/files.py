"""Atomic writes, JSON and YAML files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

# The C parser takes a tenth of the time for a resolved sweep of a hundred cells; some builds lack it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def now() -> str:
    """Return the current UTC time, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinities, which JSON lacks, become null."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(_finite(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} if it is missing or unreadable, or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def load_yaml(text: str | bytes) -> Any:
    """Parse YAML.

    Raises:
        yaml.YAMLError: it is not valid.
    """
    return yaml.load(text, Loader=LOADER)


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Write a mapping as YAML, its keys in their order."""
    return str(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write YAML atomically."""
    with atomic(path) as temporary:
        temporary.write_text(dump_yaml(content), encoding="utf-8")


def append_jsonl(path: Path, content: Mapping[str, Any]) -> None:
    """Append one JSON line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(content), ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a JSONL file that may still be growing; skip torn lines. [] if there is no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split("\n")[:-1]:
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def last_changed(path: Path) -> float:
    """Return a file's modification time in seconds since the epoch, by its file system's clock; 0 if it is missing."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _finite(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
