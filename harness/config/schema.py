"""The schema of a configuration. It imports neither torch nor Hydra.

`task`, `model` and `method` name what they configure by `kind` (`harness.config.kinds`; a class of the user's own by
`_target_`) and carry its own fields, which it checks; what every run has in common is spelled out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

SAMPLERS = ("tpe", "gp", "random", "qmc", "grid", "nsga2")
PRUNERS = ("none", "median", "patient", "hyperband", "successive_halving", "asha")
RESOURCES = ("epochs", "steps", "examples")
MODES = ("fair", "joint")
SCHEDULES = ("linear", "cosine", "constant")
PRECISIONS = ("fp32", "bf16")
HEAD_INITS = ("probe", "random")
LOSSES = ("r_drop", "mixout", "fgm")  # keys of `train` that change how a batch's loss is computed
LATER = "later"  # metadata of a field that is not signed at its default


def later(default: Any) -> Any:
    """Declare a key that runs are signed with, added after runs had been signed without it.

    At its default, which must change nothing, it is left out of signatures. So earlier records stay valid.
    """
    return field(default=default, metadata={LATER: True})


@dataclass
class LimitsConfig:
    """Largest allowed costs of a configuration; null sets no limit."""

    latency_p50_seconds: float | None = None
    latency_p95_seconds: float | None = None
    params_trainable: float | None = None
    peak_memory_mb: float | None = None
    saved_bytes: float | None = None
    total_seconds: float | None = None
    train_seconds: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The limits that are set."""
        return {cost: limit for cost, limit in vars(self).items() if limit is not None}


TUNED_COSTS = tuple(field.name for field in fields(LimitsConfig))


@dataclass
class TrainConfig:
    """How a trainable method is trained. Closed-form methods (probe, nearest mean, zero-shot) ignore it.

    Every key is part of a run's signature unless `harness.records.signature.OPERATIONAL` names it, so a new one is
    declared with
    `later(default)`.
    """

    lr: float = 1e-3  # peak learning rate of the adapted backbone
    head_lr: float = 1e-3  # peak learning rate of the classification head
    head_init: str = "probe"  # probe: start from a logistic regression on frozen features | random
    head_probe_c: float = 10.0  # inverse regularisation strength of that logistic regression
    epochs: int = 3  # passes over the training rows; the schedule spans them
    stop_epoch: int | None = None  # stop after this many epochs although the schedule spans `epochs`
    batch_size: int = 32  # rows a step, before accumulation
    accumulate: int = 1  # batches whose gradients make one optimizer step
    schedule: str = "linear"  # linear | cosine | constant, after the warm-up
    warmup: float = 0.06  # share of the steps over which the rate rises linearly from 0
    weight_decay: float = 0.01  # AdamW's, not on biases and norms
    clip: float = 1.0  # largest gradient norm; 0 switches clipping off
    label_smoothing: float = 0.0  # share of the target spread over all classes
    dropout: float | None = None  # dropout of the backbone while it trains; null keeps the model's own
    patience: int = 0  # epochs without a better validation score before training stops; 0 never stops early
    layer_decay: float = later(
        1.0
    )  # share of the rate of the block above that each block learns at; 1 is one rate for all
    r_drop: float = later(0.0)  # weight of the divergence between two passes with other dropout; 0 makes one pass
    mixout: float = later(0.0)  # chance that a trained weight is replaced by its initial value in a pass
    fgm: float = later(0.0)  # adversarial step, as a share of the norm of a row's embeddings; 0 takes none
    ema: float = later(
        0.0
    )  # decay of the moving average of weights that is judged and kept; 0 keeps the weights themselves
    precision: str = "fp32"  # fp32 | bf16 (autocast)
    eval_batch_size: int = 64  # rows a batch when nothing is trained
    checkpoint_seconds: float = 60.0  # at most this much work is lost when a process is killed


@dataclass
class TuneConfig:
    """How each cell is tuned: every cell gets the same."""

    # fair: a study a cell, the same budget each | joint: one study over all methods of a task and model, the method
    # being a parameter; the budget is that of them together
    mode: str = "fair"
    finalists: int = 2  # joint: of how many methods, the best first, the best configuration is confirmed
    # configurations a cell tries; joint: that all methods of a task and model try together (sweeps/default.yaml: 4)
    trials: int | None = 8
    seconds: float | None = None  # or: seconds of run time a cell may spend, whichever ends first
    sampler: str = "tpe"  # tpe | gp | random | qmc | grid | nsga2
    startup_trials: int | None = None  # random trials before a model-based sampler starts; null scales with the budget
    # none | asha: trials pause at rungs, and the best go on (`harness.search.asha`) | those of Optuna, which end
    # trials:
    # median | patient (median, for curves that no longer rise) | hyperband | successive_halving
    pruner: str = "none"
    resource: str = "epochs"  # what a pruner counts: epochs | steps | examples (trained on, repetitions included)
    min_resource: int | None = None  # the first rung, before which no trial is judged; null: see `harness.search.rungs`
    reduction_factor: int = (
        3  # asha, hyperband, successive_halving: one in so many trials goes on to so many times more
    )
    patience: int = 1  # patient: reports in a row without a better one before a trial may be ended
    seed: int = 0  # of the samplers, not of the runs
    storage: str | None = None  # any Optuna storage URL; null is a journal file inside the study
    max_failures: int = 3  # a cell whose first runs all fail is given up after this many
    warm_start: list[str] = field(default_factory=list)  # earlier studies whose best configurations are tried first
    objectives: list[str] = field(default_factory=list)  # costs to lower besides the metric, e.g. [latency_p50_seconds]
    # largest allowed costs, e.g. {peak_memory_mb: 2000}; a configuration above one is never chosen
    constraints: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass
class ConfirmConfig:
    """How the best configuration of each cell is confirmed on the test split."""

    seeds: int = 3  # fresh seeds
    max_seeds: int | None = None  # add seeds up to this many, only to cells whose verdict is open; null adds none
    looks: list[int] | None = None  # seeds a cell at which the verdicts are looked at; null plans them


@dataclass
class ReportConfig:
    """How the report judges; adaptive replication (confirm.max_seeds) judges alike."""

    margin: float = 0.01  # how much below the best is as good: 0.01 is 1 point of a metric in percent
    confidence: float = 0.95  # of intervals, and of all verdicts on a task together
    cost: str = (
        "train_seconds"  # what the recommended cell is cheapest in; harness/report/analysis/settings.py lists them
    )
    requests_per_month: float | None = None  # served by the model; null leaves serving out of the cost of ownership
    months: float = 12  # that the model serves
    examples: bool = True  # whether labels and ids of single test rows may be shown


@dataclass
class LaunchConfig:
    """Where runs execute."""

    kind: str = "local"  # local: a pool of warm processes | inline: in this process | slurm: jobs of a cluster
    workers: int | None = None  # local processes; null: one a GPU, or one a core up to 4, then one for every two
    workers_per_gpu: int = 1  # runs that share a GPU
    threads: int | None = None  # CPU threads a run; null: usable cores / workers, at most OMP_NUM_THREADS
    # a run that takes longer is killed and counts as hung; runs that train together are once none of them has written a
    # score or its record for so long; null never
    timeout_min: float | None = 240
    retries: int = 1  # times a run whose worker was killed or hung is tried again, from its checkpoint
    runs_per_job: int = 1  # runs that share one Slurm job, a warm process
    # Runs that share passes through one frozen backbone, where their methods can. auto: up to 8, if that is faster; on
    # this machine never a trial whose sampler would go by one of the others, in Slurm jobs those that share one | off |
    # a number: as many as that, as so many workers or in each job
    pack: str = "auto"
    detach: bool = False  # Slurm: the coordinator becomes a job itself, and the command returns at once


@dataclass
class SlurmConfig:
    """What Slurm jobs get and where they run: written in slurm/*.yaml. Names are those of submitit and sbatch."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None  # features that a node must have
    exclude: str | None = None  # nodes that are never used
    nodelist: str | None = None  # nodes that may be used; a job takes one of them
    timeout_min: int = 240  # time limit of a job; a run that needs longer checkpoints, requeues itself and goes on
    gpus_per_node: int = 0
    gres: str | None = None  # e.g. gpu:a100:1; where it names GPUs it replaces gpus_per_node
    cpus_per_task: int = 2  # also the CPU threads of a run, unless launch.threads says otherwise
    mem_gb: float | None = 8.0
    signal_delay_s: int = 120  # seconds before the time limit at which a run is told to checkpoint
    array_parallelism: int = 256  # jobs of one array that run at once
    max_queued: int = 64  # jobs of a study that wait or run at once
    setup: list[str] = field(default_factory=list)  # shell commands before Python starts
    environment: dict[str, str] = field(default_factory=dict)  # for coordinator and jobs; no secrets
    python: str | None = None  # what starts Python in a job: a command or a path; null: this
    srun_args: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # sbatch options without a key here
    poll_s: float = 30.0  # squeue or sacct is asked at most once in this many seconds, whatever the number of jobs
    pending_min: float | None = None  # a job that waited this long is given up; null waits as long as it takes
    bad_node_failures: int = 3  # jobs in a row that die at once on a node before the node is avoided
    max_requeues: int = 100  # times one job is requeued, and one run is placed anew, before it is given up
    coordinator: dict[str, Any] = field(
        default_factory=lambda: {"timeout_min": 1440, "cpus_per_task": 1, "mem_gb": 4.0, "gpus_per_node": 0}
    )  # launch.detach: what the coordinator's own job gets instead of the above


@dataclass
class HardwareConfig:
    """What a machine is called and costs: written in conf/hardware/*.yaml. Prices are yours to set."""

    name: str | None = None
    dollars_per_hour: float | None = None  # of one GPU; without a GPU, of the whole machine; null: not known
    cores: int | None = None  # CPU cores that the price buys, without a GPU; null: as many as this process may use
    gpu_name: str | None = None  # the GPU that the price is for; null: whatever computes
    memory_gb: float | None = None  # of one GPU; without a GPU, of the machine; null: what this process may use


@dataclass
class BudgetConfig:
    """What a whole study may cost; whichever ends first. It then ends in good order, and a larger budget goes on."""

    seconds: float | None = None  # wall seconds while somebody coordinates the study, over all its restarts
    dollars: float | None = None  # at hardware.dollars_per_hour


@dataclass
class SweepConfig:
    """What a study asks: written in sweeps/*.yaml with the grammar of the command line."""

    name: str = "study"  # begins the study's default name
    params: dict[str, Any] = field(default_factory=dict)  # override: value or sweep, e.g. method: lora,full


@dataclass
class Config:
    """Everything a run or a study depends on."""

    task: Any = None  # conf/task
    model: Any = None  # conf/model
    method: Any = None  # conf/method
    train: TrainConfig = field(default_factory=TrainConfig)
    # conf/augment, by name; they follow one another
    augment: dict[str, Any] = field(default_factory=dict, metadata={LATER: True})
    tune: TuneConfig = field(default_factory=TuneConfig)
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracker: dict[str, Any] = field(default_factory=dict)  # conf/tracker, by name; any number at once
    sweep: SweepConfig = field(default_factory=SweepConfig)
    axes: list[str] = field(default_factory=list)  # value sweeps that make cells instead of being tuned
    seed: int = 0  # of a run: batch order, dropout, initial weights; never of the data's draw
    device: str = "auto"  # auto | cpu | cuda | mps
    study: str | None = None  # name of the study; null makes one from the sweep's name and the question
    plan: bool = False  # print cells, trials, runs and what they would cost; start none
    calibrate: bool = True  # plan=true measures cells of which nothing is known; false lists them at once
    rerun: bool = False  # a single run executes although its record exists
    keep: str = "best"  # saved models that stay: best (of each cell) | all | none
    runs_dir: str = "runs"  # where studies are kept
    reports_dir: str = "reports"  # where reports are written
    cache_dir: str = "~/.cache/harness"  # tokenised data, frozen features, digests
    cache_gb: float = 20.0  # of them kept there; what was not used for longest goes first, and 0 keeps none
    packages: list[str] = field(
        default_factory=list
    )  # Python packages, besides harness and peft, whose classes a config may name


def later_keys() -> dict[str, Any]:
    """Find the keys that `later` declared, each with its default."""
    sections = [("", Config()), *((f"{each.name}.", getattr(Config(), each.name)) for each in fields(Config))]
    return {
        f"{prefix}{each.name}": getattr(section, each.name)
        for prefix, section in sections
        if is_dataclass(section)
        for each in fields(section)
        if LATER in each.metadata
    }


def _numbers(config: Config) -> Iterator[tuple[str, float]]:
    """The numbers with a fraction of the schema, by key."""
    sections = (TrainConfig, TuneConfig, ReportConfig, LaunchConfig, SlurmConfig, BudgetConfig, HardwareConfig)
    for schema in sections:
        name = schema.__name__.removesuffix("Config").lower()
        values = ((f"{name}.{each.name}", getattr(getattr(config, name), each.name)) for each in fields(schema))
        yield from ((key, value) for key, value in values if isinstance(value, float))


# Costs that tuning can measure; less is better. Latency only where it goes by it, memory where a run is alone.
