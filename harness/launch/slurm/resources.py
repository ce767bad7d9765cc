"""Resources of a cell's jobs: those of the profile, raised to what its model and method declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.config.schema import SlurmConfig
from harness.errors import Problems

# Passed to submitit's script, nearly all under these names (`harness.launch.slurm.batch_scripts`).
PASSED = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "timeout_min", "gpus_per_node", "gres",
    "cpus_per_task", "mem_gb", "signal_delay_s", "array_parallelism", "setup", "srun_args", "additional_parameters",
)  # fmt: skip
RAISED = ("timeout_min", "gpus_per_node", "cpus_per_task", "mem_gb")  # the largest value wins
NAMED = ("partition", "qos", "constraint", "gres")  # precedence: method, model, profile
COORDINATOR = ("partition", "account", "qos", "constraint", "exclude", "nodelist", *RAISED, "gres")

# sbatch options that a key of the profile sets, by key. Giving such an option a second time would silently win or
# lose: sbatch takes the last of two equal options, but adds up GPU requests.
KEYS = {
    "partition": ("partition", "p"), "account": ("account", "A"), "qos": ("qos", "q"),
    "constraint": ("constraint", "C"), "exclude": ("exclude", "x"), "nodelist": ("nodelist", "w"),
    "timeout_min": ("time", "t", "timeout-min"), "cpus_per_task": ("cpus-per-task", "c"), "mem_gb": ("mem", "mem-gb"),
    "gpus_per_node": ("gpus-per-node",), "gres": ("gres",), "signal_delay_s": ("signal", "signal-delay-s"),
    "array_parallelism": ("array", "a", "array-parallelism"), "setup": ("setup",), "srun_args": ("srun-args",),
}  # fmt: skip
# Options that may replace a key if it is unset: option -> (keys, how to unset them).
INSTEAD = {
    "mem-per-cpu": (("mem_gb",), "slurm.mem_gb=null"),
    "mem-per-gpu": (("mem_gb",), "slurm.mem_gb=null"),
    **dict.fromkeys(
        ("gpus", "G", "gpus-per-task", "gpus-per-socket"),
        (("gpus_per_node", "gres"), "slurm.gpus_per_node=0 slurm.gres=null"),
    ),
}
TRES = ("tres-per-node", "tres-per-task", "tres-per-socket", "tres-per-job")  # likewise, if they name GPUs
# Options that the launcher sets or relies on.
FIXED = {
    "job-name", "J", "output", "o", "error", "e", "input", "i", "open-mode", "chdir", "D", "requeue", "no-requeue",
    "nodes", "N", "ntasks", "n", "ntasks-per-node", "ntasks-per-gpu", "export", "export-file", "clusters", "cluster",
    "M", "wait", "W", "wrap", "parsable", "test-only", "use-srun", "command", "folder", "map-count",
}  # fmt: skip


def merge(slurm: SlurmConfig, config: Mapping[str, Any], problems: Problems | None = None) -> dict[str, Any]:
    """Return the sbatch parameters of a cell's jobs, by submitit's names.

    If `gres` names GPUs, it replaces `gpus_per_node`.

    Args:
        slurm: the profile.
        config: the cell's resolved configuration; uses `model.resources` and `method.resources`.
        problems: collects invalid declarations.
    """
    merged = {name: getattr(slurm, name) for name in PASSED}
    gpus = 0.0  # declared by the cell, unless its own `gres` names them
    for section in ("model", "method"):
        for name, value in (config[section].get("resources") or {}).items():
            if name in RAISED and isinstance(value, int | float) and not isinstance(value, bool):
                if merged[name] is not None:  # null leaves it to the cluster
                    merged[name] = max(merged[name], value)
                if name == "gpus_per_node":
                    gpus = max(gpus, value)
            elif name in NAMED:
                merged[name] = value
                gpus = 0.0 if name == "gres" else gpus
            elif problems is not None:
                problems.add(
                    f"{section}.resources.{name}={value}: a cell may raise {', '.join(RAISED)} (numbers) and name "
                    f"{', '.join(NAMED)}."
                )
    if merged["gres"] and gpus:
        merged["gres"] = _with_gpus(str(merged["gres"]), int(gpus))
    if not merged["gpus_per_node"] or asks_for_gpus(merged["gres"]):
        merged["gpus_per_node"] = None
    if problems is not None:
        _check_additional(merged, problems)
    return {name: list(value) if name in ("setup", "srun_args") else value for name, value in merged.items()}


def coordinator(slurm: SlurmConfig, problems: Problems | None = None) -> dict[str, Any]:
    """Return the sbatch parameters of a coordinator's job: the profile's, with the overrides of `slurm.coordinator`.

    Args:
        slurm: the profile.
        problems: collects keys that a coordinator's job does not have.
    """
    own = slurm.coordinator
    if problems is not None:
        for name in own:
            problems.check(
                name in COORDINATOR,
                f"slurm.coordinator.{name}: no such key. A coordinator's job has its own {', '.join(COORDINATOR)}; all "
                "else is the profile's.",
            )
    made = {key: getattr(slurm, key) for key in PASSED} | {"gres": None, **own}
    if not made.get("gpus_per_node") or asks_for_gpus(made["gres"]):
        made["gpus_per_node"] = None
    return made


def asks_for_gpus(gres: str | None) -> bool:
    """Return whether a `gres` names GPUs or shares of one; others (`nvme:100`) may be combined with `gpus_per_node`."""
    return any(_kind(entry) in ("gpu", "shard", "mps") for entry in (gres or "").split(","))


def describe(resources: Mapping[str, Any]) -> str:
    """Return the resources as text, for plans and messages: `partition=main, cpus_per_task=2, ...`."""
    shown = (
        "partition", "account", "qos", "constraint", "nodelist", "exclude", "gres", "gpus_per_node", "cpus_per_task",
        "mem_gb", "timeout_min",
    )  # fmt: skip
    return ", ".join(f"{name}={resources[name]}" for name in shown if resources.get(name) is not None)


def _kind(entry: str) -> str:
    """Return the first name of a `gres` entry: gpu for `gpu:a100:2` and for `gres:gpu:2`."""
    words = re.split("[:=]", entry.strip().removeprefix("gres/").removeprefix("gres:"))
    return words[0].lower()


def _with_gpus(gres: str, count: int) -> str:
    """Return `gres` with at least `count` GPUs in its GPU entry: `gpu:a100:1` -> `gpu:a100:2`."""
    entries = gres.split(",")
    for place, entry in enumerate(entries):
        if _kind(entry) == "gpu":
            *words, last = entry.split(":")
            has = int(last) if last.isdigit() else 1
            words = words if last.isdigit() else [*words, last]
            entries[place] = ":".join([*words, str(max(has, count))])
            break
    return ",".join(entries)


def _check_additional(merged: Mapping[str, Any], problems: Problems) -> None:
    """Report options that the profile sets already, or that the launcher must set."""
    named = {option: key for key, options in KEYS.items() for option in options}
    for given, value in merged["additional_parameters"].items():
        where = f"slurm.additional_parameters.{given}"
        option = given.lstrip("-").replace("_", "-")
        if option in named:
            problems.add(f"{where}: the profile's own key for it is slurm.{named[option]}. Set that instead.")
        elif option in FIXED:
            problems.add(
                f"{where}: the launcher sets this itself, and could not follow its jobs otherwise. Leave it out."
            )
        elif option in INSTEAD or (option in TRES and asks_for_gpus(str(value))):
            keys, unset = INSTEAD["gpus" if option in TRES else option]
            if set_ := [f"slurm.{key}={merged[key]}" for key in keys if merged[key] is not None]:
                problems.add(
                    f"{where} and {' and '.join(set_)} exclude each other. Keep one; to unset the other: {unset}."
                )
