"""Checks of the values of a configuration."""

from __future__ import annotations

import itertools
import math
import re

from harness.api.schedules import SCHEDULES
from harness.config.schema import (
    DROPOUT_MASKS,
    HEAD_INITS,
    MODES,
    PRECISIONS,
    PRUNERS,
    REPLICATE_SEEDS,
    RESOURCES,
    SAMPLERS,
    SELECTIONS,
    TRIAL_SEEDS,
    TUNED_COSTS,
    VARIED,
    Config,
    TuneConfig,
    _numbers,
)
from harness.config.slurm_values import check_slurm
from harness.errors import Problems


def check_search(tune: TuneConfig, problems: Problems) -> None:
    """Add a problem for each invalid objective or constraint, and for settings that cannot be combined."""
    for cost in tune.objectives:
        problems.check(
            cost in TUNED_COSTS, f"tune.objectives: {cost} is not measured in tuning. Known: {', '.join(TUNED_COSTS)}."
        )
    for cost in TUNED_COSTS:
        limit = getattr(tune.constraints, cost)
        problems.check(limit is None or limit > 0, f"tune.constraints.{cost} must be above 0, not {limit}.")
    problems.check(
        not tune.objectives or tune.pruner == "none",
        f"tune.pruner={tune.pruner} compares one curve, and tune.objectives={list(tune.objectives)} asks for several "
        "objectives at once: set tune.pruner=none, or give a limit instead ('tune.constraints={<cost>:<limit>}').",
    )
    problems.check(
        tune.mode == "fair" or tune.sampler in ("tpe", "random"),
        f"tune.sampler={tune.sampler} cannot search several methods' spaces at once: with tune.mode=joint use tpe or "
        "random.",
    )
    problems.check(
        tune.pruner != "asha" or tune.sampler not in ("gp", "nsga2"),
        f"tune.sampler={tune.sampler} learns only from trials that were finished. With tune.pruner=asha few are, so it "
        "would draw at random. Use tpe, which learns from paused trials, too, or random, qmc or grid, which learn from "
        "none; or set tune.pruner=median or none.",
    )


def check_replicates(config: Config, problems: Problems) -> None:
    """Add a problem for replicates that mean nothing, and for settings that cannot be combined with them."""
    confirm, tune = config.confirm, config.tune
    asked = list(confirm.vary)
    shown = f"confirm.vary=[{','.join(map(str, asked))}]"
    ways = "[seed], [seed,tuning], [seed,draw] or [seed,tuning,draw]"
    problems.check(
        "seed" in asked and {*asked} <= {*VARIED} and len({*asked}) == len(asked),
        f"{shown} must be {ways}: the seed always varies.",
    )
    problems.check(confirm.replicates >= 1, f"confirm.replicates must be 1 or more, not {confirm.replicates}.")
    if not {*asked} - {"seed"}:
        return
    problems.check(
        confirm.replicates >= 2,
        f"{shown} with confirm.replicates={confirm.replicates}: one replicate varies nothing. Set confirm.replicates "
        "to 2 or more (5 tell well how much they differ), or leave confirm.vary out.",
    )
    problems.check(
        confirm.seeds < REPLICATE_SEEDS,
        f"confirm.seeds={confirm.seeds} with {shown} must be below {REPLICATE_SEEDS}, the distance between the seeds "
        "of two replicates. More replicates tell more than so many seeds: raise confirm.replicates.",
    )
    problems.check(
        confirm.max_seeds is None and not confirm.looks,
        f"confirm.max_seeds and confirm.looks add seeds of one replicate, and {shown} has several: leave them out and "
        "set confirm.replicates and confirm.seeds, or leave confirm.vary out.",
    )
    problems.check(
        tune.mode == "fair",
        f"{shown} with tune.mode=joint: the replicates of a joint study may confirm other methods each, so none would "
        "have all. Set tune.mode=fair, or leave confirm.vary out.",
    )
    problems.check(
        "tuning" not in asked or tune.seconds is None,
        f"{shown} with tune.seconds={tune.seconds}: the seconds are those of a cell, and its tunings would take them "
        "from one another. Limit trials instead: tune.trials=8 tune.seconds=null.",
    )


def check_devices_per_run(config: Config, problems: Problems) -> None:
    """Add a problem for runs of several devices that cannot be divided, or with settings for one device."""
    launch, slurm, size = config.launch, config.slurm, config.train.batch_size
    each, nodes = launch.devices_per_run, slurm.nodes_per_run
    shown = f"launch.devices_per_run={each}"
    for name, count in (("launch.devices_per_run", each), ("slurm.nodes_per_run", nodes)):
        problems.check(count > 0, f"{name} must be above 0, not {count}.")
    if each < 1 or nodes < 1:
        return
    problems.check(
        each % nodes == 0,
        f"slurm.nodes_per_run={nodes} does not divide {shown}: every node gets as many processes. Set "
        f"launch.devices_per_run={-(-each // nodes) * nodes}, or slurm.nodes_per_run=1.",
    )
    problems.check(
        nodes == 1 or launch.kind == "slurm",
        f"slurm.nodes_per_run={nodes} is for jobs of a cluster, and launch.kind={launch.kind} has this machine alone. "
        "Name a profile (slurm=<profile>), or leave it at 1.",
    )
    if each == 1:
        return
    problems.check(
        size < 1 or size >= each,
        f"{shown} leaves devices without a row of train.batch_size={size}. Set train.batch_size={each} or more, or "
        f"launch.devices_per_run={size} or fewer.",
    )
    problems.check(
        launch.kind != "inline",
        f"{shown} needs a process for each device, and launch.kind=inline is one process. Set launch.kind=local (with "
        "launch.workers=1 one run at a time), or leave launch.devices_per_run at 1.",
    )
    problems.check(
        not launch.fuse.isdigit() or int(launch.fuse) <= 1,  # below 2 it is refused for one device, too
        f"launch.fuse={launch.fuse} fuses runs on one device, and {shown} divides a run among several. Set launch.fuse "
        "to auto or off, or leave launch.devices_per_run at 1.",
    )
    problems.check(
        launch.workers_per_gpu <= 1,
        f"launch.workers_per_gpu={launch.workers_per_gpu} lets runs share a GPU, and {shown} divides a run among "
        "several. Keep one of the two.",
    )


def check(config: Config, problems: Problems) -> None:
    """Add a problem for every invalid value of the common schema."""
    train, tune, confirm, launch, slurm = config.train, config.tune, config.confirm, config.launch, config.slurm
    hardware = config.hardware
    for key, number in _numbers(config):
        problems.check(math.isfinite(number), f"{key} must be a finite number, not {number}.")
    for name in ("lr", "head_lr", "head_probe_c", "batch_size", "accumulate", "epochs", "eval_batch_size"):
        value = getattr(train, name)
        problems.check(value > 0, f"train.{name} must be above 0, not {value}.")
    problems.check(
        0 < train.temperature < float("inf"), f"train.temperature must be a number above 0, not {train.temperature}."
    )
    for name in ("weight_decay", "clip", "patience", "r_drop", "fgm", "neftune", "checkpoint_seconds"):
        value = getattr(train, name)
        problems.check(value >= 0, f"train.{name} must be 0 or more, not {value}.")
    for name in ("warmup", "label_smoothing", "dropout", "mixout", "ema"):
        value = getattr(train, name)
        problems.check(value is None or 0 <= value < 1, f"train.{name} must lie in [0, 1), not {value}.")
    problems.check(0 < train.layer_decay <= 1, f"train.layer_decay must lie in (0, 1], not {train.layer_decay}.")
    problems.check(
        not train.packing or train.fgm == 0,
        f"train.fgm={train.fgm} moves the embeddings of each row, and train.packing=true joins rows: leave one out.",
    )
    for name, value, choices in (
        ("train.schedule", train.schedule, tuple(SCHEDULES)),
        ("train.dropout_masks", train.dropout_masks, DROPOUT_MASKS),
        ("train.precision", train.precision, PRECISIONS),
        ("train.head_init", train.head_init, HEAD_INITS),
        ("tune.sampler", tune.sampler, SAMPLERS),
        ("tune.pruner", tune.pruner, PRUNERS),
        ("tune.resource", tune.resource, RESOURCES),
        ("tune.mode", tune.mode, MODES),
        ("tune.select", tune.select, SELECTIONS),
        ("tune.trial_seeds", tune.trial_seeds, TRIAL_SEEDS),
        ("launch.kind", launch.kind, ("local", "inline", "slurm")),
        ("keep", config.keep, ("best", "all", "none")),
        ("device", config.device, ("auto", "cpu", "cuda", "mps")),
    ):
        problems.check(value in choices, f"{name} must be one of {', '.join(choices)}, not {value}.")
    for name, entries in (
        ("tune.objectives", tune.objectives),
        ("tune.warm_start", tune.warm_start),
        ("axes", config.axes),
        ("packages", config.packages),
    ):
        listed = list(map(str, entries))
        problems.check(
            all(isinstance(entry, str) for entry in entries),
            f"{name}=[{','.join(listed)}] must be a flat list of texts: {name}=[a,b].",
        )
        problems.check(
            len({*listed}) == len(listed),
            f"{name}=[{','.join(listed)}] names an entry twice. Write {name}=[{','.join(dict.fromkeys(listed))}].",
        )
    for name, count in (
        ("tune.trials", tune.trials),
        ("tune.seconds", tune.seconds),
        ("tune.startup_trials", tune.startup_trials),
        ("tune.max_failures", tune.max_failures),
        ("tune.finalists", tune.finalists),
        ("tune.min_resource", tune.min_resource),
        ("tune.patience", tune.patience),
        ("train.stop_epoch", train.stop_epoch),
        ("launch.workers", launch.workers),
        ("launch.workers_per_gpu", launch.workers_per_gpu),
        ("launch.threads", launch.threads),
        ("launch.timeout_min", launch.timeout_min),
        ("launch.runs_per_job", launch.runs_per_job),
        ("slurm.signal_delay_s", slurm.signal_delay_s),
        ("slurm.array_parallelism", slurm.array_parallelism),
        ("slurm.max_queued", slurm.max_queued),
        ("slurm.poll_s", slurm.poll_s),
        ("slurm.pending_min", slurm.pending_min),
        ("slurm.bad_node_failures", slurm.bad_node_failures),
        ("budget.seconds", config.budget.seconds),
        ("budget.dollars", config.budget.dollars),
        ("hardware.cores", hardware.cores),
        ("hardware.memory_gb", hardware.memory_gb),
    ):
        problems.check(count is None or count > 0, f"{name} must be above 0, not {count}.")
    check_slurm(slurm, problems)
    problems.check(
        tune.trials is not None or tune.seconds is not None,
        "A budget is needed: set tune.trials or tune.seconds (or both).",
    )
    problems.check(tune.reduction_factor >= 2, f"tune.reduction_factor must be 2 or more, not {tune.reduction_factor}.")
    problems.check(tune.seed >= 0, f"tune.seed must be 0 or more, not {tune.seed}.")
    check_search(tune, problems)
    problems.check(
        config.study is None or re.fullmatch(r"\w[\w.+-]*", config.study) is not None,
        f"study={config.study}: a study's name is made of letters, digits and . _ + -, since it names a directory.",
    )
    problems.check(confirm.seeds >= 1, f"confirm.seeds must be 1 or more, not {confirm.seeds}.")
    problems.check(
        confirm.max_seeds is None or confirm.max_seeds >= confirm.seeds,
        f"confirm.max_seeds={confirm.max_seeds} is below confirm.seeds={confirm.seeds}, with which every cell begins.",
    )
    check_replicates(config, problems)
    looks = list(confirm.looks or [])
    problems.check(
        not looks or (looks[0] >= 2 and all(after > before for before, after in itertools.pairwise(looks))),
        f"confirm.looks={looks} must rise, from 2 or more: seeds a cell at which the verdicts are looked at.",
    )
    problems.check(
        not looks or confirm.max_seeds is None or looks[-1] == confirm.max_seeds,
        f"confirm.looks={looks} must end at confirm.max_seeds={confirm.max_seeds}; one of the two is enough.",
    )
    problems.check(
        launch.fuse in ("auto", "off") or (launch.fuse.isdigit() and int(launch.fuse) > 1),
        f"launch.fuse must be auto, off, or a number of runs from 2 on, not {launch.fuse}.",
    )
    problems.check(
        launch.kind != "inline" or tune.pruner in ("none", "asha"),
        f"tune.pruner={tune.pruner} ends trials while they run, and launch.kind=inline cannot end them: "
        "set launch.kind=local (with launch.workers=1 one runs at a time), or tune.pruner=asha or none.",
    )
    check_devices_per_run(config, problems)
    problems.check(launch.retries >= 0, f"launch.retries must be 0 or more, not {launch.retries}.")
    problems.check(
        slurm.signal_delay_s < 60 * slurm.timeout_min,
        f"slurm.signal_delay_s={slurm.signal_delay_s} would warn a job of its time limit before it starts: give it "
        f"fewer seconds than slurm.timeout_min={slurm.timeout_min} minutes.",
    )
    problems.check(slurm.max_requeues >= 0, f"slurm.max_requeues must be 0 or more, not {slurm.max_requeues}.")
    problems.check(
        not launch.detach or launch.kind == "slurm",
        f"launch.detach=true makes the coordinator a Slurm job; with launch.kind={launch.kind} there is no Slurm. "
        "Name a profile: slurm=<profile>.",
    )
    price = hardware.dollars_per_hour
    problems.check(price is None or price >= 0, f"hardware.dollars_per_hour must be 0 or more, not {price}.")
    problems.check(
        config.budget.dollars is None or price is not None,
        f"budget.dollars={config.budget.dollars} needs a price: name a machine (hardware=cpu-8core, a10g, l4, "
        "a100-40gb, h100-80gb, or a YAML of your own in hardware/), or set hardware.dollars_per_hour=<price of one "
        "GPU; without a GPU, of the machine>.",
    )
    problems.check(
        config.budget.dollars is None or price != 0,
        f"budget.dollars={config.budget.dollars} never ends a study on hardware that costs nothing "
        "(hardware.dollars_per_hour=0): set budget.seconds, or a price.",
    )
    problems.check(config.cache_gb >= 0, f"cache_gb must be 0 or more, not {config.cache_gb}.")
    problems.check(0 <= config.seed < 2**31, f"seed must lie in [0, 2147483647], not {config.seed}.")
