"""Resources of a cell's jobs: those of the profile, raised to what its model and method declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.config.schema import SlurmConfig
from harness.config.slurm_values import as_count, check_coordinator, check_resources
from harness.errors import Problems

# Passed to submitit's script, nearly all under these names (`harness.launch.slurm.batch_scripts`).
PASSED = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "timeout_min", "gpus_per_node", "gres",
    "cpus_per_task", "mem_gb", "signal_delay_s", "array_parallelism", "setup", "srun_args", "additional_parameters",
)  # fmt: skip
RAISED = ("timeout_min", "gpus_per_node", "cpus_per_task", "mem_gb")  # the largest value wins
NAMED = ("partition", "qos", "constraint", "gres")  # precedence: method, model, profile

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
        ("gpus", "gpus-per-task", "gpus-per-socket"),
        (("gpus_per_node", "gres"), "slurm.gpus_per_node=0 slurm.gres=null"),
    ),
}
# Options of which sbatch takes one: the second would replace the first, or sbatch refuses both.
EXCLUSIVE = (
    ("mem-per-cpu", "mem-per-gpu"),
    ("gpus", "gpus-per-task", "gpus-per-socket"),
    ("exclusive", "oversubscribe"),
    ("core-spec", "thread-spec"),
    ("hint", "threads-per-core", "extra-node-info"),
    *(("extra-node-info", option) for option in ("sockets-per-node", "cores-per-socket")),
)
# Options that a key which is always set excludes: option -> (key, where to say it).
NEVER = {
    "cpus-per-gpu": "cpus_per_task", "nodefile": "nodelist",
}  # fmt: skip
SHORT = {
    "B": "extra-node-info", "F": "nodefile", "G": "gpus", "L": "licenses", "S": "core-spec", "b": "begin",
    "d": "dependency", "H": "hold", "s": "oversubscribe", "share": "oversubscribe", "m": "distribution",
    "k": "no-kill", "O": "overcommit", "I": "immediate", "Q": "quiet", "v": "verbose",
}  # fmt: skip
TRES = ("tres-per-node", "tres-per-task", "tres-per-socket", "tres-per-job")  # likewise, if they name GPUs
# Options that the launcher sets or relies on.
FIXED = {
    "job-name", "J", "output", "o", "error", "e", "input", "i", "open-mode", "chdir", "D", "requeue", "no-requeue",
    "nodes", "N", "ntasks", "n", "ntasks-per-node", "ntasks-per-gpu", "ntasks-per-core", "ntasks-per-socket",
    "export", "export-file", "clusters", "cluster", "M", "wait", "W", "wrap", "parsable", "test-only",
    "use-srun", "command", "folder", "map-count",
    "help", "h", "usage", "u", "version", "V",
}  # fmt: skip


def merge(slurm: SlurmConfig, config: Mapping[str, Any], problems: Problems | None = None) -> dict[str, Any]:
    """Return the sbatch parameters of a cell's jobs, by submitit's names.

    If `gres` names GPUs, it replaces `gpus_per_node`.

    Args:
        slurm: the profile.
        config: the cell's resolved configuration; uses `model.resources` and `method.resources`. Null among `NAMED`
            leaves what the profile names to the cluster.
        problems: collects invalid declarations.
    """
    merged = {name: getattr(slurm, name) for name in PASSED}
    gpus = 0.0  # declared by the cell, unless its own `gres` names them
    for section in ("model", "method"):
        for name, value in (config[section].get("resources") or {}).items():
            valid = Problems()
            check_resources(f"{section}.resources", {name: value}, valid)
            valid.check(
                name in (*RAISED, *NAMED),
                f"{section}.resources.{name}={value}: a cell may raise {', '.join(RAISED)} (numbers) and name "
                f"{', '.join(NAMED)}.",
            )
            valid.check(
                value is not None or name not in RAISED,
                f"{section}.resources.{name}=null: a cell only raises what the profile says, and null raises nothing. "
                "Leave it out, or write a number.",
            )
            if valid.messages:
                if problems is not None:
                    problems.messages += valid.messages
            elif name in RAISED:
                if merged[name] is not None:  # null leaves it to the cluster
                    merged[name] = max(merged[name], as_count(name, value))
                if name == "gpus_per_node":
                    gpus = max(gpus, value)
            else:
                merged[name] = value
                gpus = 0.0 if name == "gres" else gpus
    if merged["gres"] and gpus:
        merged["gres"] = _with_gpus(str(merged["gres"]), int(gpus))
    merged |= _tasks(slurm, config)
    if not merged["gpus_per_node"] or asks_for_gpus(merged["gres"]):
        merged["gpus_per_node"] = None
    if problems is not None:
        _check_additional(merged, slurm, problems)
        _check_gpus(merged, config, problems)
    return {name: list(value) if name in ("setup", "srun_args") else value for name, value in merged.items()}


def _tasks(slurm: SlurmConfig, config: Mapping[str, Any]) -> dict[str, int]:
    """Return the nodes and tasks of a job whose runs use several devices; {} for one device."""
    each = (config.get("launch") or {}).get("devices_per_run", 1)
    if each == 1 or "train" in (config["method"].get("ignores") or ()):
        return {}
    return {"nodes": slurm.nodes_per_run, "ntasks_per_node": each // slurm.nodes_per_run}


def _check_gpus(merged: Mapping[str, Any], config: Mapping[str, Any], problems: Problems) -> None:
    """Report fewer GPUs of a node than tasks that train together there. None at all are fine: tasks of CPU cores."""
    tasks, gres, key = merged.get("ntasks_per_node", 1), merged["gres"], "slurm.gpus_per_node"
    given, enough = merged["gpus_per_node"], str(tasks)
    if asks_for_gpus(gres):
        given, enough = (
            sum(_count(entry) for entry in gres.split(",") if _kind(entry) == "gpu"),
            _with_gpus(gres, tasks),
        )
        named = [part for part in ("method", "model") if (config[part].get("resources") or {}).get("gres")]
        key = f"{named[0]}.resources.gres" if named else "slurm.gres"
    problems.check(
        not given or given >= tasks or config.get("device") == "cpu",
        f"launch.devices_per_run puts {tasks} processes on a node, and {key}={gres if 'gres' in key else given} gives "
        f"each node fewer GPUs. Set {key}={enough}, raise slurm.nodes_per_run, or set device=cpu.",
    )


def coordinator(slurm: SlurmConfig, problems: Problems | None = None) -> dict[str, Any]:
    """Return the sbatch parameters of a coordinator's job: the profile's, with the overrides of `slurm.coordinator`.

    Args:
        slurm: the profile.
        problems: collects keys that a coordinator's job does not have.
    """
    own = slurm.coordinator
    if problems is not None:
        check_coordinator(own, problems)
    own = {key: as_count(key, value) for key, value in own.items()}
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
        "partition", "account", "qos", "constraint", "nodelist", "exclude", "nodes", "ntasks_per_node", "gres",
        "gpus_per_node", "cpus_per_task",
        "mem_gb", "timeout_min",
    )  # fmt: skip
    return ", ".join(f"{name}={resources[name]}" for name in shown if resources.get(name) is not None)


def _kind(entry: str) -> str:
    """Return the first name of a `gres` entry: gpu for `gpu:a100:2` and for `gres:gpu:2`."""
    words = re.split("[:=]", entry.strip().removeprefix("gres/").removeprefix("gres:"))
    return words[0].lower()


def _count(entry: str) -> int:
    """Return the number of a `gres` entry: 2 for `gpu:a100:2`, 1 for `gpu:a100`."""
    last = entry.strip().split(":")[-1].split("=")[-1]
    return int(last) if last.isdigit() else 1


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


def _check_additional(merged: Mapping[str, Any], slurm: SlurmConfig, problems: Problems) -> None:
    """Report options that exclude each other, that the profile sets already, or that the launcher must set."""
    named = {option: key for key, options in KEYS.items() for option in options}
    options = {given: _option(given) for given in merged["additional_parameters"]}
    for given, option in options.items():
        where, value = f"slurm.additional_parameters.{given}", merged["additional_parameters"][given]
        keys, unset = INSTEAD["gpus" if option in TRES else option] if option in (*INSTEAD, *TRES) else ((), "")
        own = _kinds(value) & {"cpu", "mem"} if option == "tres-per-task" else set()
        if option in named:
            problems.add(f"{where}: the profile's own key for it is slurm.{named[option]}. Set that instead.")
        elif option in FIXED:
            problems.add(
                f"{where}: the launcher sets this itself, and could not follow its jobs otherwise. Leave it out."
            )
        elif option in NEVER or own:
            key = NEVER.get(option, "cpus_per_task" if "cpu" in own else "mem_gb")
            problems.add(f"{where}: sbatch takes it only without what slurm.{key} says. Set slurm.{key} instead.")
        elif (option not in TRES or asks_for_gpus(str(value))) and (
            set_ := [f"slurm.{key}={merged[key]}" for key in keys if merged[key] is not None]
        ):
            theirs = [key for key in keys if merged[key] not in (None, getattr(slurm, key))]
            problems.add(
                f"{where} and {' and '.join(set_)} exclude each other. "
                + (
                    f"{', '.join(theirs)} is raised by `resources` of the model or the method: leave out {where}."
                    if theirs
                    else f"Keep one; to unset the other: {unset}."
                )
            )
    _check_pairs(options, merged["additional_parameters"], problems)
    excluded = {*_names(merged["exclude"])}
    problems.check(
        not merged["nodelist"] or not {*_names(merged["nodelist"])} <= excluded,
        f"slurm.nodelist={merged['nodelist']} and slurm.exclude={merged['exclude']} leave no node. Take it out of one.",
    )


def _check_pairs(options: Mapping[str, str], values: Mapping[str, Any], problems: Problems) -> None:
    """Report options that are given twice under several spellings, and those that exclude each other."""
    on = {given: option for given, option in options.items() if values[given] not in (None, False)}
    for option in dict.fromkeys(on.values()):
        same = [given for given in on if on[given] == option]
        problems.check(
            len(same) == 1,
            f"slurm.additional_parameters: {' and '.join(same)} are the same option of sbatch. Keep one.",
        )
    for group in EXCLUSIVE:
        both = [given for given, option in on.items() if option in group]
        problems.check(
            len({on[given] for given in both}) < 2,
            f"slurm.additional_parameters: {' and '.join(both)} exclude each other in sbatch. Keep one.",
        )


def _option(given: str) -> str:
    """Return an option's long name as sbatch writes it: `mem-per-cpu` for `--mem_per_cpu`, `partition` for `parti`.

    Of long options sbatch takes any beginning that no other one has.
    """
    option = given.lstrip("-").replace("_", "-")
    option = SHORT.get(option, option)
    known = {*(each for options in KEYS.values() for each in options), *FIXED, *INSTEAD, *NEVER, *TRES}
    if option in known or len(option) < 3:
        return option
    return next((each for each in sorted(known) if each.startswith(option)), option)


def _kinds(tres: Any) -> set[str]:
    return {_kind(entry) for entry in str(tres).split(",")}


def _names(nodes: str | None) -> list[str]:
    """Return the entries of a list of nodes; those with brackets stay as they are written."""
    return [each for each in re.split(r",(?![^\[]*\])", (nodes or "").replace(" ", "")) if each]


def for_coordinator(additional: Mapping[str, Any], memory: bool) -> dict[str, Any]:
    """Return the additional options of a coordinator's job: without those that ask for GPUs.

    Args:
        additional: those of the profile.
        memory: whether the coordinator has a key for memory, which the options may not repeat.
    """
    own = {*INSTEAD, *TRES} - (set() if memory else {"mem-per-cpu"})
    return {given: value for given, value in additional.items() if _option(given) not in own}
