"""Translation of errors of Hydra and OmegaConf: what is wrong, the alternatives, and what was probably meant."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from harness.config.key_types import without_value
from harness.config.kinds import class_path
from harness.config.overrides import GROUPS, meant
from harness.config.slurm_values import in_unit
from harness.config.synonyms import NOT_IN_A_SECTION, hydra_answer
from harness.config.type_errors import mistyped
from harness.errors import nearest, typed

_CULPRITS = (
    r"Could not override '([^']+)'",
    r"Error merging override [+~]*([^=\s]+)",
    r"full_key: (\S+)",
    r"Could not (?:find|load) '([^']+)/[^/']+'",
    r"Could not delete from config\. .*?'([^']+)'",
)


def faulty_override(error: BaseException, lines: Iterable[str]) -> str | None:
    """Return which of these overrides an error is about; None if that is unknown."""
    lines, text = list(lines), _text(error)
    for match in filter(None, (re.search(pattern, text) for pattern in _CULPRITS)):
        for line in lines:
            if line.lstrip("+~").partition("=")[0] == match[1]:
                return line
    return None


def explain(error: BaseException, config: DictConfig | None = None) -> list[str]:
    """Return messages that explain a composition error.

    Args:
        error: raised while a configuration was composed, resolved or merged.
        config: the configuration composed without the faulty override, for the names of existing keys.
    """
    text = _text(error)
    for pattern, say in _RULES:
        if match := re.search(pattern, text, re.DOTALL):
            return [say(match, config)]
    return [mistyped(text) or " ".join(line.strip() for line in text.splitlines() if line.strip())]


def _choice(match: re.Match[str], config: DictConfig | None) -> str:
    group, name = match[1], match[2]
    if group.startswith("hydra/") and (answer := hydra_answer(group, name)):
        return f"{group}={name}: {answer}"
    if (inner := group.partition("/")[2]) in GROUPS:  # in a defaults list, whose names are relative
        return f"{group}={name}: a defaults list names a group from the root: `- override /{inner}: {name}`."
    # Hydra does not list the options if several were chosen.
    known = re.findall(r"^\t(\S+)$", match.string, re.MULTILINE)
    hint = nearest(name, known) if known else "`python -m harness --help` lists what there is."
    return f"{group}={name}: there is no such {group}. {hint}"


def _type(match: re.Match[str], config: DictConfig | None) -> str:
    where = re.search(r"full_key: (\S+)", match.string)
    kind = match[2].lower()
    hint = without_value(where[1], match[1]) if where else ""
    if where and re.fullmatch(r"\[[^\[\]{}]+\]", match[1]):
        choices = f"{where[1]}={match[1][1:-1].replace(' ', '')}"
        hint = f"; to try one after the other, in a study (-m), leave out the brackets: {choices}"
    return (
        f"{where[1] if where else 'A value'}={match[1]}: this key takes {'an' if kind[0] in 'aeiou' else 'a'} {kind}, "
        f"not {match[1]!r}{hint}. {in_unit(where[1], match[1]) if where else ''}".strip()
    )


def _missing(match: re.Match[str], config: DictConfig | None) -> str:
    key = match[1]
    within = re.search(r"full_key: (\S+)", match.string)
    if within and within[1].startswith(f"{key}."):  # the override sets a mapping that contains this key
        key = within[1]
    return f"{key}: {hydra_answer(key, '')}" if key.startswith("hydra.") else unknown_key(key, config)


def _interpolated(match: re.Match[str], config: DictConfig | None) -> str:
    where = re.search(r"full_key: (\S+)", match.string)
    return (
        f"{f'{where[1]}: ' if where else ''}${{{match[1]}}} names a key of the configuration, and there is no "
        f"{match[1]}. A variable of the shell is read by the shell where no single quotes stand around it, or by "
        f"${{oc.env:{match[1]}}}."
    )


def _several(match: re.Match[str], config: DictConfig | None) -> str:
    """Explain a sweep without -m."""
    key, _, value = match[1].partition("=")
    if re.match(r"\w+\(", value) or key in GROUPS:
        return f"{match[1]}: several values make a study: add -m."
    return (
        f"{match[1]}: several values make a study: add -m. As one list: {shlex.quote(f'{key}=[{value}]')} "
        f"As one text: {typed(key, value)}"
    )


_WITHOUT_SECTION = ("sweeps", "regularise")  # groups whose YAMLs change what others have set
_Rule = Callable[[re.Match[str], DictConfig | None], str]
_RULES: tuple[tuple[str, _Rule], ...] = (
    (
        r"In '([^']+)'.*Merge error: \w+ is not a subclass of \w+\. value: ([^\n]*)",
        lambda match, _: (
            f"{match[1]}.yaml: {match[2].strip()} is given where a section (a mapping of keys) is expected."
        ),
    ),
    (
        r"Could not (?:find|load) '([^'/]+)/'",
        lambda match, _: f"{match[1]}=: this key takes a name. Leave {match[1]}= out for its default.",
    ),
    (
        r"In '([^']+)'.*Cannot merge DictConfig with ListConfig\s+full_key: *\n",
        lambda match, _: (
            f"{match[1]}.yaml has a list where a mapping is expected. Write key: value lines there, as in params: "
            "{method: 'lora,full'}."
        ),
    ),
    (r"Could not (?:find|load) '([^']+)/([^/']+)'", _choice),
    (r"Value '([^\n]*)' of type '\w+' (?:could not be converted to|is incompatible with) ([^\n]*)", _type),
    (
        r"field '[\w.]+' is not Optional\s+full_key: (\S+)",
        lambda match, _: f"{match[1]}=null: this key needs a value. Leave it out for its default.",
    ),
    (
        r"Incompatible value 'None' for field of type '\w+'\s+full_key: (\S+)",
        lambda match, _: f"{match[1]}=null: this key needs a value. Leave it out for its default.",
    ),
    (r"Could not override '([^']+)'.*(?:not in struct|Key ')", _missing),
    (r"Key '[^']+' (?:not in '\w+'|is not in struct)\s+full_key: (\S+)", _missing),
    (r"Interpolation key '([^']+)' not found", _interpolated),
    (
        r"Could not append to config\. An item is already at '([^']+)'",
        lambda match, _: f"{match[1]} has a value already: write {match[1]}=<value>, without +.",
    ),
    (
        r"Could not delete from config\. [^\n]*?'([^']+)'",
        lambda match, _: f"~{match[1]}: there is no such key to delete.",
    ),
    (
        r"Missing mandatory value: (\S+)",
        lambda match, _: f"{match[1]} has no value yet: set it on the command line, {match[1]}=<value>.",
    ),
    (r"Sweep parameters '([^\n]+)' requires --multirun", _several),
    (r"Ambiguous value for argument '([^\n]+)'", _several),
    (
        r"Cannot find primary config '([^']+)'",
        lambda match, _: f"--config-name {match[1]}: there is one configuration. YAMLs of yours: --config-dir DIR",
    ),
)


def unknown_key(key: str, config: DictConfig | None) -> str:
    """Return a message on a key that does not exist, with at most three similar keys of this configuration."""
    if key in _WITHOUT_SECTION:
        return (
            f"{key}/<name>.yaml sets keys of the whole configuration: let it begin with the line `# @package _global_` "
            f"(without it, its keys would be those of a section {key}, and there is none)."
        )
    if "hydra" in key.split("."):
        return f"{key}: {NOT_IN_A_SECTION}"
    known = list(keys(config)) if config is not None else None
    if known and key in known:
        own = [each.removeprefix(f"{key}.") for each in known if each.startswith(f"{key}.")]
        return f"{key}: the mapping has a key that is not there. Keys of {key}: {', '.join(own)}."
    if key == "method.alpha" and config is not None:
        return (
            f"{key} sets how far the weights of layers move from the pretrained ones, which has no meaning for "
            f"method={OmegaConf.select(config, 'method.name')}: leave it out, or use a method such as lora, ia3 or "
            "full (in a YAML of your own, write alpha: 1.0 where it has one)."
        )
    parent, _, leaf = key.rpartition(".")
    added = _takes(config, parent, leaf) if config is not None else None
    if added:
        return f"{key}: {added} Write +{key}=<value>."
    return f"{key}: the configuration has no such key. {meant(key, known)}"


def _takes(config: DictConfig, parent: str, leaf: str) -> str | None:
    """Return why a key may be added below a parent with +; None if it may not."""
    if parent in ("slurm.environment", "slurm.additional_parameters", "slurm.coordinator"):
        return f"{parent} takes keys of your own, each added with a +."
    node = OmegaConf.select(config, parent) if parent else None
    target = class_path(OmegaConf.to_container(node) if OmegaConf.is_dict(node) else None)
    if target is None:
        return None
    with suppress(Exception):  # a target that cannot be imported is reported where it is built
        found = get_object(target)
        if leaf in inspect.signature(found).parameters and leaf not in getattr(found, "refused", ()):
            return f"the configuration leaves this to the default of {target.rpartition('.')[2]}."
    return None


def _text(error: BaseException) -> str:
    text = str(error)
    return f"{text}\n{error.__cause__}" if error.__cause__ is not None and str(error.__cause__) not in text else text


def keys(config: DictConfig) -> Iterator[str]:
    """Yield every key of a configuration, without those of Hydra."""
    content: Any = OmegaConf.to_container(config, resolve=False)

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if not (prefix == "" and key == "hydra"):
                yield f"{prefix}{key}"
                if isinstance(value, dict):
                    yield from walk(value, f"{prefix}{key}.")

    yield from walk(content, "")
