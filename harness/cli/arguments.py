"""Parsing of the command line before Hydra: flags first, and overrides normalized so that Hydra reads them as meant."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.overrides import COMBINED, GROUPS, OF_CELLS, key_kind, meant, normal
from harness.config.typed_text import as_typed
from harness.errors import HarnessError, Problems, typed

_FLAGS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info",
)  # fmt: skip
_SHORT = ("-h", "-c", "-p", "-r", "-m", "-sc", "-cp", "-cn", "-cd", "-i", "-V")
_WITH_VALUE = (
    "--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun",
    "-c", "-p", "-cp", "-cn", "-cd",
)  # fmt: skip


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        typed: the original arguments.
        flags: Hydra's options, with their values.
        overrides: overrides, normalized for Hydra.
        of_cells: for a study, overrides of keys that only some cells may have. They are applied to each cell's
            configuration, never to the common one.
        notes: sentences for the user, about arguments of which only a part counts.
    """

    typed: tuple[str, ...]
    flags: tuple[str, ...]
    overrides: tuple[str, ...]
    of_cells: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def config_dir(self) -> str | None:
        """The user's own directory of YAMLs."""
        return _value(self.flags, "--config-dir", "-cd")

    def pass_to_hydra(self) -> None:
        """Set `sys.argv` to the arguments from which Hydra composes the common configuration."""
        _handed.append(self)
        sys.argv[1:] = [*self.flags, *self.overrides]


_handed: list[CommandLine] = []  # the command line that Hydra is composing, if any


def restore_arguments(arguments: Sequence[str]) -> list[str]:
    """Return all overrides of a study, given those that Hydra knows; restore the original `sys.argv`."""
    if not _handed:
        return list(arguments)
    given = _handed.pop()
    _handed.clear()
    sys.argv[1:] = given.typed
    return [*arguments, *given.of_cells]


def read(arguments: Sequence[str], root: Path) -> CommandLine:
    """Parse a command line.

    Args:
        arguments: without the program's name.
        root: the directory that contains conf/, sweeps/ and slurm/.

    Raises:
        HarnessError: lists every argument that is neither flag nor override, and every override that has no effect.
    """
    problems = Problems()
    flags, lines = _split(arguments, problems)
    own = _value(flags, "--config-dir", "-cd")
    places = [root / "conf", root, *([Path(own)] if own else [])]

    def is_group(name: str) -> bool:
        return any((place / name).is_dir() for place in places)

    overrides = []
    for line in as_typed(lines):
        try:
            overrides.append(normal(line, is_group))
        except HarnessError as error:
            problems.extend(error)
    _check_flags(flags, problems)
    if own is not None:
        _check_config_dir(own, problems)
    study = "-m" in flags or "--multirun" in flags
    problems.raise_any()
    of_cells = [line for line in overrides if study and line.lstrip("+~").startswith(OF_CELLS)]
    shared = [line for line in overrides if line not in of_cells]
    return CommandLine(tuple(arguments), tuple(flags), tuple(shared), tuple(of_cells), _given_twice(overrides, study))


def _given_twice(overrides: Sequence[str], study: bool) -> tuple[str, ...]:
    """Return a note for each key or group that is given with different values.

    As in Hydra the last one counts, since scripts append to a command what they change in it. Of a group another
    choice may be meant as a cell of its own, which would be missing.
    """
    given: dict[str, list[str]] = {}
    for line in overrides:
        key, _, value = line.lstrip("+").partition("=")
        if not line.startswith("~") and not value.startswith("{"):  # a mapping changes keys one by one
            given.setdefault(key, []).append(value)
    notes = []
    for key, values in given.items():
        several = list(dict.fromkeys(values))
        if len(several) < 2:
            continue
        written = " and ".join(f"{key}={value}" for value in several)
        joined, where = ",".join(value.strip("[]") for value in several), "" if study else ", in a study (-m)"
        meant_so = ""
        if key in ("task", "model", "method"):
            meant_so = f" For a cell each{where}: {shlex.quote(f'{key}={joined}')}"
        elif key in COMBINED:
            meant_so = f" For all of them at once: {shlex.quote(f'{key}=[{joined}]')}"
        notes.append(f"{written}: {key} is given more than once, and the last one counts.{meant_so}")
    return tuple(notes)


def _split(arguments: Sequence[str], problems: Problems) -> tuple[list[str], list[str]]:
    """Split the arguments into flags with their values, and overrides; users may mix them, Hydra does not allow it."""
    flags: list[str] = []
    lines: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            lines.append(word)
            continue
        name = word.partition("=")[0]
        long = [flag for flag in _FLAGS if flag == name] or [flag for flag in _FLAGS if flag.startswith(name)]
        if name in _SHORT or (name.startswith("--") and len(name) > 2 and long):
            name = long[0] if name.startswith("--") else name
            flags.append(name + word[len(word.partition("=")[0]) :])
            if (name in _WITH_VALUE and "=" not in word and rest) or (
                name in ("--info", "-i") and rest and re.fullmatch(r"[\w-]+", rest[0])
            ):
                flags.append(rest.pop(0))
            continue
        value = word.partition("=")[2]
        if "=" not in word and rest and not re.match(r"-|[+~]*[\w./@]+=", rest[0]):
            value = rest.pop(0)
        problems.add(_no_flag(word, name.lstrip("-"), value))
    return flags, lines


def _no_flag(word: str, key: str, value: str) -> str:
    """Return a hint for `--train.lr=1e-3` or `--method lora`."""
    known = key_kind(key) != "unknown"
    if known:
        return f"{word}: an override is written without dashes: {typed(key, value) if value else f'{key}=<value>'}"
    hint = meant(key.replace("-", "_"))
    hint = f" {hint.rstrip('?')}=<value>?" if hint.startswith("Did") else ""
    return f"{word}: there is no such option; settings are written as key=value, without dashes.{hint} See --help."


def _check_flags(flags: Sequence[str], problems: Problems) -> None:
    if any(flag.startswith("--experimental-rerun") for flag in flags):
        problems.add(
            "--experimental-rerun: not supported. The same command executes a study's missing runs; rerun=true "
            "repeats a single run"
        )
    modes = [flag for flag in flags if flag.partition("=")[0] in ("-r", "--run", "-m", "--multirun", "-c", "--cfg")]
    if len(modes) > 1 and len({mode.partition("=")[0].lstrip("-")[0] for mode in modes}) > 1:
        problems.add(
            f"{' and '.join(modes)} exclude each other: give one. --cfg job shows a single run's configuration."
        )
    if "--resolve" in flags and not any(flag.partition("=")[0] in ("-c", "--cfg") for flag in flags):
        problems.add("--resolve belongs to --cfg: python -m harness --cfg job --resolve")


def _check_config_dir(name: str, problems: Problems) -> None:
    own = Path(name)
    problems.check(bool(name) and own.is_dir(), f"--config-dir {name}: there is no such directory.")
    if own.name in GROUPS and own.is_dir() and not any((own / group).is_dir() for group in GROUPS):
        parent = shlex.quote(str(own.parent))
        problems.add(f"--config-dir {own}: name the directory that {own.name}/ lies in: --config-dir {parent}")


def _value(flags: Sequence[str], *names: str) -> str | None:
    for place, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if name in names and (equals or place + 1 < len(flags)):
            return value if equals else flags[place + 1]
    return None
