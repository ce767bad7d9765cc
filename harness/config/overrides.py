"""Parsing of overrides: by Hydra's grammar, or as plain text if nothing else is possible."""

from __future__ import annotations

import os
import re
import shlex
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from harness.config.key_types import is_list_of_text, sections
from harness.config.schema import Config
from harness.config.synonyms import HABITS, SPACES, hydra_answer
from harness.errors import HarnessError, close, quoted, typed

GROUPS = ("task", "model", "method", "regularise", "augment", "sweeps", "slurm", "tracker", "hardware")
COMBINED = ("regularise", "augment", "tracker")  # groups whose choices may be combined in a list
OF_CELLS = ("task.", "model.", "method.", "augment.")  # prefixes of keys that only some cells of a study may have

_LINE = re.compile(r"([+~]{0,2})([\w$][\w$./@:-]*)=(.*)", re.DOTALL)
_FUNCTIONS = ["choice", "range", "interval", "tag", "sort", "shuffle", "glob", "int", "float", "str", "bool"]


def parse(line: str, loader: ConfigLoader | None = None) -> Override:
    """Parse an override. A value that Hydra's grammar rejects and that can only be text is taken literally.

    Args:
        line: `key=value`, as the program receives it from the shell.
        loader: for `glob(...)`, which looks up the choices of a group.

    Raises:
        HarnessError: the line is no override, or is ambiguous; says how to write each meaning.
    """
    parser = OverridesParser.create(config_loader=loader)
    try:
        override = parser.parse_override(_spelled_out(line))
    except HydraException as error:
        try:
            override = parser.parse_override(_as_text(line, error, parser))
        except HydraException:
            raise HarnessError(_no_override(line)) from None
    override.config_loader = loader
    return override


def normal(line: str, is_group: Callable[[str], bool]) -> str:
    """Return an override in the form that is passed to Hydra: text is quoted, and a + before an existing key removed.

    Args:
        line: the override as typed.
        is_group: returns whether there are YAMLs for a group of that name.

    Raises:
        HarnessError: see `parse`; or the key is unknown, cannot be deleted, or is a key of Hydra without effect here.
    """
    override = parse(line)
    key = override.key_or_group
    if not key:
        raise HarnessError(_no_override(line))
    if override.is_hydra_override() or key.partition(".")[0].partition("/")[0] == "hydra":
        value = str(override.input_line).partition("=")[2]
        if answer := hydra_answer(key, value):
            raise HarnessError(f"{line}: {answer}")
        return str(override.input_line)
    added = override.is_add() or override.is_force_add()
    if not added and not override.is_delete():
        return str(override.input_line)
    kind = key_kind(key)
    if override.is_delete():
        if (kind == "closed" and key not in GROUPS) or key in ("task", "model", "method"):
            raise HarnessError(f"{line}: {key} cannot be deleted. Leave {line} out for its default.")
        return str(override.input_line)
    if kind == "unknown" and not is_group(key):
        raise HarnessError(
            f"{line}: the configuration has no such key, and with + it would have no effect. {meant(key)}"
        )
    return str(override.input_line).lstrip("+") if kind == "closed" else str(override.input_line)


def by_key(override: Override) -> list[str]:
    """Return `model={hub: a}` key by key, as it changes keys beside the choice `model=b`; [] for other overrides."""
    key, value = override.key_or_group, None if override.is_sweep_override() else override.value()
    if not isinstance(value, dict) or override.is_delete() or key not in {*GROUPS, *sections()}:
        return []
    return [f"{key}.{name}={_in_grammar(part)}" for name, part in value.items()]


def _in_grammar(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_in_grammar(part)}" for key, part in value.items()) + "}"
    return quoted(value)


def without_a_cluster(lines: Sequence[str], kind: str) -> list[str]:
    """Return a note on the keys of `slurm` that overrides set, where no run goes to a cluster.

    Args:
        lines: the overrides.
        kind: `launch.kind`.
    """
    keys = [line.lstrip("+").partition("=")[0] for line in lines if line.lstrip("+").startswith("slurm.")]
    if kind == "slurm" or not keys:
        return []
    return [
        f"{', '.join(dict.fromkeys(keys))}: without effect, for runs stay on this machine (launch.kind={kind}). "
        "slurm=<profile> in a study (-m) sends them to a cluster."
    ]


def key_kind(key: str) -> str:
    """Return `closed` for a key of the common schema, `open` for one below a key that takes any, else `unknown`."""
    node: Any = Config
    for place, part in enumerate(key.split(".")):
        if not is_dataclass(node):
            return "unknown"
        types = typing.get_type_hints(node)
        if part not in types:
            return "closed" if place == 0 and part in GROUPS else "unknown"
        node = types[part]
        if node is Any or typing.get_origin(node) is dict:
            return "open" if part != key else "closed"
    return "closed"


def schema_keys(node: Any = Config, prefix: str = "") -> Iterator[str]:
    """Yield every key of the common schema."""
    types = typing.get_type_hints(node)
    for each in fields(node):
        yield f"{prefix}{each.name}"
        if is_dataclass(types[each.name]):
            yield from schema_keys(types[each.name], f"{prefix}{each.name}.")


def meant(key: str, known: Sequence[str] | None = None) -> str:
    """Return a sentence that suggests at most three existing keys for an unknown one.

    Args:
        key: the unknown key.
        known: the existing keys; None: those of the common schema.
    """
    known = list(schema_keys()) if known is None else known
    parent, _, leaf = key.rpartition(".")
    habit = HABITS.get(leaf, "")
    section = {each.rpartition(".")[2]: each for each in known if each.rpartition(".")[0] == parent}
    root = key.partition(".")[0] + "."
    elsewhere = [each for each in known if each.rpartition(".")[2] == leaf]
    near = (
        ([habit] if habit in section.values() else [])
        or sorted(elsewhere, key=lambda each: not each.startswith(root))[:1]
        or [section[name] for name in close(leaf, section)]
        or ([habit] if habit in known else [])
        or close(key, known if "." not in key else [])
    )
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if parent and 0 < len(section) <= 6:
        return f"Keys of {parent}: {', '.join(section)}."
    return "`python -m harness --cfg job` lists all keys."


def _spelled_out(line: str) -> str:
    """Return the override with ~ in `key=~/x` expanded, as most shells do not expand a ~ after =."""
    match = _LINE.fullmatch(line)
    if match and match[3] and not match[3].strip():  # whitespace such as a tab, which Hydra would strip
        return f"{match[1]}{match[2]}={quoted(match[3])}"
    if not match or not re.match(r"~[\w.-]*(/|$)", match[3]):
        return line
    path = os.path.expanduser(match[3])  # noqa: PTH111 - Path would raise where there is no such user
    return f"{match[1]}{match[2]}={quoted(path)}" if "," not in path and path != match[3] else line


def _as_text(line: str, error: HydraException, parser: OverridesParser) -> str:
    """Return the override with its value quoted.

    Raises:
        HarnessError: the value may mean something else.
    """
    match = _LINE.fullmatch(line)
    if not match:
        raise HarnessError(_no_override(line))
    sign, key, value = match.groups()
    start = f"{sign}{key}="
    name = (re.match(r"\s*(\w+)\s*\(", value) or ("", ""))[1]
    if name in SPACES:
        raise HarnessError(f"{line}: there is no {name}(...). Write {SPACES[name].format(key=key)}.")
    if name in _FUNCTIONS:
        why = str(error).strip().splitlines()[-1]
        raise HarnessError(
            f"{line}: this is not a valid sweep ({why}). Write {key}=a,b, choice(a,b), range(1,9), interval(0,0.5) or "
            f"tag(log,interval(1e-5,1e-2)) for the value, in the shell's quotes; as literal text: "
            f"{typed(start[:-1], value)}"
        )
    if value.startswith(("[", "{")) and (written := _collection(value, parser)) is not None:
        return start + written
    paired = value.count("[") == value.count("]") and value.count("{") == value.count("}") and "," not in value
    if value.startswith(("'", '"')) or "${" in value or (value.startswith(("[", "{")) and not paired):
        raise HarnessError(
            f"{line}: brackets, quotes or ${{}} in it do not match. "
            + (_as_list(start[:-1], value) if is_list_of_text(key) else f"As one text: {typed(start[:-1], value)}")
        )
    parts = _entries(value.strip(", ")) or value.strip(", ").split(",")
    if len(parts) > 1:
        choices = ",".join(_element(part, parser) for part in parts)
        raise HarnessError(
            f"{line}: is this one text, or several choices? One text: {typed(start[:-1], value)} Several choices, "
            f"of a study (-m): {shlex.quote(start + choices)}"
        )
    return start + quoted(value)


def _as_list(key: str, value: str) -> str:
    """Return how a value is typed as a list of texts: one for each part between commas, or one whose commas are its."""
    inner = value.removeprefix("[").removesuffix("]")
    parts = [part.strip() for part in _entries(inner) or inner.split(",") if part.strip()]
    texts = [part[1:-1] if re.fullmatch(r"\"[^\"]*\"|'[^']*'", part) else part for part in parts]
    if len(texts) < 2:
        return f"As a list of one text: {typed(key, texts or [inner])}"
    return f"As a list of {len(texts)} texts: {typed(key, texts)} Of one text: {typed(key, [inner])}"


def _collection(text: str, parser: OverridesParser) -> str | None:
    """Return a list, or a flat mapping, with each text in it quoted; None if the text is neither."""
    inner = text[1:-1]
    if text[-1] != {"[": "]", "{": "}"}[text[0]]:
        return None
    if text[0] == "[":
        entries = None if "${" in inner else _entries(inner)
        if entries is None:
            return None
        return f"[{','.join(_element(entry.strip(), parser) for entry in entries)}]"
    if re.search(r"[\[\]{}\"']", inner):
        return None
    pairs = [part.partition(":") for part in inner.split(",")]
    if not all(re.fullmatch(r"\s*[A-Za-z_][\w.-]*\s*", key) and colon for key, colon, _ in pairs):
        return None
    return "{" + ",".join(f"{key.strip()}:{_element(value.strip(), parser)}" for key, _, value in pairs) + "}"


def _entries(text: str) -> list[str] | None:
    """Split at commas outside of quotes, brackets and parentheses; None if one of them is not closed."""
    closing = {"[": "]", "{": "}", "(": ")"}
    entries, open_ = [""], ""
    for sign in text:
        if sign == "," and not open_:
            entries.append("")
            continue
        entries[-1] += sign
        if open_ and sign == open_[-1]:
            open_ = open_[:-1]
        elif not open_.endswith(("'", '"')):
            open_ += sign if sign in "'\"" else closing.get(sign, "")
    return None if open_ else entries


def _element(text: str, parser: OverridesParser) -> str:
    try:  # within a list: the rule of an element alone would take a beginning of the text for all of it
        found = parser.parse_override(f"key=[{text}]").value()
        whole = isinstance(found, list) and len(found) == 1
    except HydraException:
        whole = False
    if not whole and text:
        return quoted(text)
    # A = is read in a value, and not in a list of values.
    return quoted(text) if "=" in text and text[0] not in "'\"" else text or '""'


def _no_override(line: str) -> str:
    if line.startswith("=") or line.endswith("="):
        return f"{line}: write an override without spaces around =, e.g. train.lr=1e-3"
    if "=" in line:
        return f"{line}: this is not an override: {line.partition('=')[0]!r} is not a key. Write key=value."
    return f"{line}: this is not an override. Write key=value, e.g. method=lora"
