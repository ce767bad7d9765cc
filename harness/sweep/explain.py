"""Hydra's and OmegaConf's errors in the words of the configuration: what is wrong, what there is, what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from harness.errors import nearest
from harness.schema import without_value
from harness.sweep.mistyped import mistyped


def explain(error: BaseException, config: DictConfig | None = None) -> list[str]:
    """Say what a composition error means.

    Args:
        error: raised while a configuration was composed, resolved or merged.
        config: any composed configuration, for the names of keys that exist.
    """
    text = str(error)
    if isinstance(error, OverrideParseException):
        reason = text.splitlines()[0]
        return [
            f"{error.override}: this is no override ({reason}). Write key=value, and quote what the shell would read."
        ]
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text = f"{text}\n{error.__cause__}"
    if match := re.search(r"Could not (?:find|load) '([^']+)/([^/']+)'", text):
        group, name = match[1], match[2]
        known = re.findall(r"^\t(\S+)$", text, re.MULTILINE)  # Hydra does not list them where several were chosen
        hint = nearest(name, known) if known else "`python -m harness --help` lists what there is."
        return [f"{group}={name}: there is no such {group}. {hint}"]
    if match := re.search(r"Value '(.*)' of type '\w+' (?:could not be converted to|is incompatible with) (.*)", text):
        where = re.search(r"full_key: (\S+)", text)
        hint = without_value(where[1], match[1]) if where else ""
        return [
            f"{where[1] if where else 'A value'}={match[1]}: this key takes a {match[2].lower()}, not {match[1]!r}"
            f"{hint}."
        ]
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match[1]
        if (config is not None and "not in struct" in text) or "Key '" in text:
            known = list(_keys(config)) if config is not None else []
            close = [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]]
            return [f"{key}: the configuration has no such key. {nearest(key, close or known)}"]
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        return [f"{match[1]} has no value yet: set it on the command line, {match[1]}=..."]
    return [mistyped(text) or " ".join(line.strip() for line in text.splitlines() if line.strip())]


def _keys(config: DictConfig) -> Iterator[str]:
    content: Any = OmegaConf.to_container(config, resolve=False)

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if not (prefix == "" and key == "hydra"):
                yield f"{prefix}{key}"
                if isinstance(value, dict):
                    yield from walk(value, f"{prefix}{key}.")

    yield from walk(content, "")
