"""Checks of the values of `slurm`, which sbatch would misread or a job's script would execute."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.config.schema import SlurmConfig
from harness.errors import Problems

MEGABYTE = 1 / 1024  # gigabytes; below, sbatch would be given 0, which stands for all memory of a node
_TEXTS = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "gres")
_COUNTS = {"timeout_min": 1, "cpus_per_task": 1, "gpus_per_node": 0}  # their least values
# Options of srun that the launcher sets or relies on: one task a job, whose output it reads.
_OF_THE_LAUNCHER = (
    "output", "error", "input", "ntasks", "nodes", "ntasks-per-node", "ntasks-per-core", "ntasks-per-gpu",
    "ntasks-per-socket", "multi-prog", "jobid", "pty", "test-only", "help", "usage", "version",
)  # fmt: skip
_SHORT_OF_THE_LAUNCHER = "oeinNhV"
_WITHOUT_VALUE = "EHOQXZjlsuv"  # short options of srun after which another one may follow, as in -un2
# Keys that a coordinator's job may have of its own (`slurm.coordinator`).
COORDINATOR = (*_TEXTS, *_COUNTS, "mem_gb")


def check_slurm(slurm: SlurmConfig, problems: Problems) -> None:
    """Add a problem for each value of a profile that would not mean in a job's script what it says here."""
    check_resources("slurm", {name: getattr(slurm, name) for name in (*_TEXTS, *_COUNTS, "mem_gb")}, problems)
    for name, value in slurm.additional_parameters.items():
        where = f"slurm.additional_parameters.{name}"
        problems.check(
            value is None or isinstance(value, str | int | float),
            f"{where}={value}: sbatch takes one text or number for an option, true for a switch. For a text with a "
            f"comma, quote it twice: '+{where}=\"a,b\"'.",
        )
        _check_line(where, value, problems)
    for name, entries in (("setup", slurm.setup), ("srun_args", slurm.srun_args)):
        problems.check(
            all(isinstance(entry, str) for entry in entries),
            f"slurm.{name}: its entries are texts, not lists or mappings: slurm.{name}=[a,b].",
        )
    for entry in filter(lambda entry: isinstance(entry, str), slurm.srun_args):
        problems.check(
            not _of_the_launcher(entry.strip()),
            f"slurm.srun_args: the launcher sets {entry} itself, and could not follow its jobs otherwise. Leave it "
            "out.",
        )
    for name, value in slurm.environment.items():
        problems.check(
            re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None and "\0" not in str(value),
            f"slurm.environment: {name!r} is no name of a variable, made of letters, digits and _, or its value holds "
            "a NUL. Correct it.",
        )
        problems.check(
            name != "OMP_NUM_THREADS",
            f"slurm.environment.{name}={value}: each job sets this itself. Set launch.threads={value} instead, or "
            "slurm.cpus_per_task, which it follows.",
        )
        for variable in _unexpanded(name, str(value)):
            problems.add(
                f"slurm.environment.{name}={value}: nothing expands ${variable} here. For its value on this machine "
                f"write ${{oc.env:{variable}}}; for the job's, add export {name}=... to slurm.setup."
            )
    check_coordinator(slurm.coordinator, problems)


def check_coordinator(own: Mapping[str, Any], problems: Problems) -> None:
    """Add a problem for each key of `slurm.coordinator` that its job does not have, and for each invalid value."""
    for name in own:
        problems.check(
            name in COORDINATOR,
            f"slurm.coordinator.{name}: no such key. A coordinator's job has its own {', '.join(COORDINATOR)}; all "
            "else is the profile's.",
        )
    known = {name: value for name, value in own.items() if name in COORDINATOR}
    if known.get("timeout_min", 1) is None:
        problems.add("slurm.coordinator.timeout_min=null: a coordinator's job needs a time limit, in minutes: 1440.")
    check_resources("slurm.coordinator", known, problems)


def check_resources(where: str, given: Mapping[str, Any], problems: Problems) -> None:
    """Add a problem for each invalid value of resources.

    Args:
        where: the section that the values stand in.
        given: values by names of `COORDINATOR`; null leaves one to the cluster.
        problems: collects the problems.
    """
    for name, value in given.items():
        key = f"{where}.{name}"
        if value is None:
            continue
        if name in _TEXTS:
            problems.check(
                isinstance(value, str) and bool(value.strip()),
                f"{key}={value}: this key takes text, or null for what the cluster itself would take.",
            )
            _check_line(key, value, problems)
        elif name in _COUNTS:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            problems.check(
                number and float(value).is_integer() and value >= _COUNTS[name],
                f"{key} must be a whole number, {_COUNTS[name]} or more, not {value}. "
                f"{in_unit(key, str(value))}".strip(),
            )
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            problems.check(
                number and math.isfinite(value) and value >= MEGABYTE,
                f"{key} must be a number of gigabytes, 0.001 or more, not {value}. {in_unit(key, str(value))}".strip(),
            )


def as_count(name: str, value: Any) -> Any:
    """Return a value of resources, 90.0 of a key of whole numbers as 90."""
    return int(value) if name in _COUNTS and isinstance(value, float) and value.is_integer() else value


def _of_the_launcher(entry: str) -> bool:
    """Return whether an entry of `srun_args` is an option that the launcher sets.

    srun takes any beginning of a long option that no other one has, and several short ones after one dash.
    """
    if match := re.match(r"--([\w-]+)", entry):
        return any(name.startswith(match[1]) for name in _OF_THE_LAUNCHER)
    if match := re.match(rf"-([{_WITHOUT_VALUE}]*)(\w?)", entry):
        return match[2] != "" and match[2] in _SHORT_OF_THE_LAUNCHER
    return False


def in_unit(key: str, text: str) -> str:
    """Return how a time or memory in Slurm's spelling is written here; "" if a text is neither.

    >>> in_unit("slurm.timeout_min", "1-00:00:00")
    'Write slurm.timeout_min=1440 (minutes).'
    """
    if key.endswith("timeout_min") and (match := re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)):
        days, *parts = match.groups()
        first, second, third = (int(part or 0) for part in parts)
        # Slurm's rule: with days D-H[:M[:S]]; else M, M:S or H:M:S.
        if days:
            seconds = int(days) * 86400 + first * 3600 + second * 60 + third
        else:
            seconds = first * 3600 + second * 60 + third if match[4] else first * 60 + second
        if not seconds:
            return (
                "To Slurm 0 means no limit; here each job has one, and what takes longer goes on in the next. Write "
                f"{key}=1440 (minutes)."
            )
        return f"Write {key}={math.ceil(seconds / 60)} (minutes)."
    if key.endswith("mem_gb") and (match := re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT])i?B?", text, re.IGNORECASE)):
        gigabytes = float(match[1]) * {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1, "T": 1024}[match[2].upper()]
        return f"Write {key}={max(gigabytes, 0.001):.4g} (gigabytes)." if gigabytes else ""
    return ""


def _check_line(key: str, value: Any, problems: Problems) -> None:
    """An option is a line of a job's script: what follows a line break would be a command of it."""
    problems.check(
        not isinstance(value, str) or re.search(r"[\n\r\0]", value) is None,
        f"{key} holds a line break, which would end the option within the job's script. Write it in one line.",
    )


def _unexpanded(name: str, value: str) -> Iterator[str]:
    """Yield the variables of the shell with which paths begin, the one that the value is for among them.

    Elsewhere in a text a `$` may be meant.
    """
    for part in value.split(":"):
        match = re.fullmatch(r"\$(?:(\w+)|\{(\w+)\})(?:/.*)?", part)
        variable = (match[1] or match[2]) if match else ""
        if variable and (variable == name or variable in os.environ):
            yield variable
