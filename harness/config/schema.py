"""The schema of a configuration. It imports neither torch nor Hydra.

`task`, `model` and `method` name a class by `kind` (`harness.config.kinds`; a class of the user's own by `_target_`)
and hold the fields of that class, which checks them. This module defines the keys that all runs have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from typing import TYPE_CHECKING, Any

from harness.api.cost import tuned

SAMPLERS = ("tpe", "gp", "random", "qmc", "grid", "nsga2")
PRUNERS = ("none", "median", "patient", "hyperband", "successive_halving", "asha")
RESOURCES = ("epochs", "steps", "examples")
MODES = ("fair", "joint")
REPLICATE_SEEDS = 1000  # distance between the seeds of two replicates
SELECTIONS = ("best", "one_standard_error", "rerank")
RERANKED, FRESH_SEEDS = 3, 2  # tune.select=rerank: trials that are trained again, and at how many more seeds
RERANK_SEED = 500  # the first of these, above that of the tuning; confirmations begin below
TRIAL_SEEDS = ("shared", "own")
VARIED = ("seed", "tuning", "draw")  # what replicates may differ in
DROPOUT_MASKS = ("auto", "lanes", "native")
PRECISIONS = ("auto", "fp32", "bf16")
HEAD_INITS = ("probe", "random")
LOSSES = ("r_drop", "mixout", "fgm", "neftune")  # keys of `train` that change how a batch's loss is computed
LATER = "later"  # metadata key of a field that signatures leave out at its default


def later(default: Any) -> Any:
    """Declare a key of signatures that was added after runs had been signed without it.

    Signatures leave it out at its default, which must change nothing, so that earlier records stay valid.
    """
    return field(default=default, metadata={LATER: True})


# Costs that tuning can measure; less is better. Latency is measured only if tuning uses it, memory only for runs that
# own their process.
TUNED_COSTS = tuned()


class _Limits:
    @property
    def given(self) -> dict[str, float]:
        """The limits that are set."""
        return {cost: limit for cost, limit in vars(self).items() if limit is not None}


if TYPE_CHECKING:

    class LimitsConfig(_Limits):
        """Largest allowed costs of a configuration, by the names in `TUNED_COSTS`; null sets no limit."""

        def __init__(self, **limits: float | None) -> None: ...

else:  # its fields follow from the table of costs
    LimitsConfig = make_dataclass(
        "LimitsConfig", [(cost, float | None, None) for cost in TUNED_COSTS], bases=(_Limits,)
    )
    LimitsConfig.__module__ = __name__


@dataclass
class TrainConfig:
    """How a trainable method is trained. Closed-form methods (probe, nearest mean, zero-shot) ignore it.

    Every key is part of a run's signature unless `harness.records.signature.OPERATIONAL` lists it, so declare a new key
    with `later(default)`.
    """

    lr: float = 1e-3  # peak learning rate of the adapted backbone
    head_lr: float = 1e-3  # peak learning rate of the classification head
    head_init: str = "probe"  # probe: start from a logistic regression on frozen features | random
    head_probe_c: float = 10.0  # inverse regularization strength of that logistic regression
    # an earlier winner to start from, in place of the pretrained weights: the directory of a saved model, or a study
    # (a name or a path), of which the best saved model is taken; identified by its content
    init: str | None = None
    epochs: int = 3  # passes over the training rows; the schedule spans them
    stop_epoch: int | None = None  # stop after this many epochs; the schedule still spans `epochs`
    batch_size: int = 32  # rows per batch, before accumulation
    accumulate: int = 1  # batches whose gradients are accumulated for one optimizer step
    schedule: str = "linear"  # after the warm-up: a name in harness/api/schedules.py
    warmup: float = 0.06  # share of the steps over which the rate rises linearly from 0
    weight_decay: float = 0.01  # of AdamW, not applied to biases and norms
    clip: float = 1.0  # largest gradient norm; 0 turns clipping off
    label_smoothing: float = 0.0  # share of the target spread over all classes, or over all tokens of the vocabulary
    dropout: float | None = None  # dropout of the backbone while it trains; null keeps the model's own
    # how dropout masks are drawn on a CPU: lanes (16 bits a value) | native (as PyTorch does) | auto: lanes, but native
    # in a study that an earlier version began
    dropout_masks: str = later("auto")
    patience: int = 0  # epochs without a better validation score before training stops; 0 never stops early
    # layer-wise learning-rate decay: rate of a block relative to the block above it; 1 is one rate for all
    layer_decay: float = later(1.0)
    r_drop: float = later(0.0)  # weight of the divergence between two passes with different dropout; 0 makes one pass
    mixout: float = later(0.0)  # probability that a trained weight is replaced by its initial value in a pass
    fgm: float = later(0.0)  # adversarial step relative to the norm of a row's embeddings; 0 makes none
    neftune: float = later(0.0)  # noise on token embeddings, at most this / sqrt(length * width); 0 adds none
    # decay of the moving average of weights, which is evaluated and saved; 0 uses the weights themselves
    ema: float = later(0.0)
    temperature: float = later(0.05)  # retrieval: similarities of queries and passages are divided by it in the loss
    # decoders: the rows of a batch are joined to sequences of task.max_length tokens, which saves padding; no row sees
    # another, so losses are the same
    packing: bool = later(False)
    # fp32 | bf16 (autocast; trained weights, optimizer and loss stay float32) | auto: bf16 if this machine has products
    # of bfloat16 in hardware, settled once a study; fp32 on Slurm, whose nodes may differ
    precision: str = "fp32"
    eval_batch_size: int = 64  # rows per batch in evaluation
    checkpoint_seconds: float = 60.0  # at most this much work is lost when a process is killed


@dataclass
class TuneConfig:
    """How each cell is tuned: every cell in the same way."""

    # fair: an Optuna study for each cell, all with the same budget | joint: one Optuna study over all methods of a task
    # and model, with the method as a parameter; the methods share the budget
    mode: str = "fair"
    finalists: int = 2  # joint: number of methods, best first, whose best configuration is confirmed
    # configurations per cell; joint: of all methods of a task and model together
    trials: int | None = 4
    seconds: float | None = None  # seconds of run time per cell; tuning ends with the first limit that is reached
    sampler: str = "tpe"  # tpe | gp | random | qmc | grid | nsga2
    startup_trials: int | None = None  # random trials before a model-based sampler starts; null scales with the budget
    # none | asha: trials pause at rungs, and the best are promoted (`harness.search.asha`) | Optuna's pruners, which
    # end trials: median | patient (median, for curves that no longer rise) | hyperband | successive_halving
    pruner: str = "none"
    resource: str = "epochs"  # unit of rungs: epochs | steps | examples (trained on, repetitions included)
    min_resource: int | None = None  # the first rung; no trial is pruned before it; null: see `harness.search.rungs`
    # asha, hyperband, successive_halving: one in this many trials continues, with this many times the resource
    reduction_factor: int = 3
    patience: int = 1  # patient: reports in a row without improvement before a trial may be ended
    seed: int = 0  # of the samplers, not of the runs
    # shared: all trials of a cell are trained at one seed, so they differ by their values alone | own: each at its own
    trial_seeds: str = "shared"
    # best: the best trial is confirmed | one_standard_error: the documented default, unless the best leads it by more
    # than one standard error of the validation rows | rerank: the three best are trained at two more seeds, and the
    # best mean is confirmed
    select: str = "best"
    storage: str | None = None  # any Optuna storage URL; null is a journal file inside the study
    max_failures: int = 3  # a cell whose first runs all fail is given up after this many
    warm_start: list[str] = field(default_factory=list)  # earlier studies whose best configurations are tried first
    objectives: list[str] = field(default_factory=list)  # costs to lower besides the metric, e.g. [latency_p50_seconds]
    # largest allowed costs, e.g. {peak_memory_mb: 2000}; a configuration above one is never selected
    constraints: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass
class ConfirmConfig:
    """How the best configuration of each cell is confirmed on the test split."""

    seeds: int = 3  # fresh seeds; of each replicate, if there are several
    # what differs between replicates: [seed] has one replicate | [seed,tuning]: each is tuned on its own |
    # [seed,draw]: each trains on a draw of its own | [seed,tuning,draw]: each is tuned on a draw of its own
    vary: list[str] = field(default_factory=lambda: ["seed"])
    replicates: int = 3  # number of replicates, where `vary` names more than the seed
    max_seeds: int | None = None  # add seeds up to this many, only to cells whose verdict is open; null adds none
    looks: list[int] | None = None  # seeds per cell at which verdicts are computed; null plans them

    @property
    def labels(self) -> range:
        """The labels of the replicates: 0, 1, ..."""
        return range(self.replicates if {*self.vary} - {"seed"} else 1)

    @property
    def tunings(self) -> int:
        """Number of tunings of each cell."""
        return len(self.labels) if "tuning" in self.vary else 1


@dataclass
class ReportConfig:
    """How verdicts are computed, in the report and in adaptive replication (confirm.max_seeds)."""

    margin: float = 0.01  # non-inferiority margin below the best: 0.01 is 1 point of a metric in percent
    confidence: float = 0.95  # of each interval, and of all verdicts on a task together
    # the cost that the recommended cell minimizes, of harness/api/cost.py
    cost: str = "train_seconds"
    requests_per_month: float | None = None  # served by the model; null leaves serving out of the cost of ownership
    months: float = 12  # months for which the model serves
    # how failed confirmations count in verdicts: majority (as the most frequent class) | worst (as the worst seed of
    # the cell) | excluded
    failed_as: str = "majority"
    examples: bool = True  # whether labels and ids of single test rows may be shown


@dataclass
class LaunchConfig:
    """Where runs execute."""

    kind: str = "local"  # local: a pool of warm processes | inline: in this process | slurm: jobs of a cluster
    workers: int | None = None  # local processes; null: one per GPU, else see harness/launch/devices.py
    workers_per_gpu: int = 1  # runs that share a GPU
    # devices that train a run together, each with a copy of the model and a share of every batch: GPUs, or processes of
    # a CPU; a method without training uses one of them
    devices_per_run: int = 1
    threads: int | None = None  # CPU threads per device of a run; null: usable cores / workers, at most OMP_NUM_THREADS
    # minutes after which a run of a study is killed and counts as hung; for fused runs, minutes in which none of them
    # has written a score or its record; null: never
    timeout_min: float | None = 240
    retries: int = 1  # retries of a run whose worker was killed or hung, from its checkpoint
    runs_per_job: int = 1  # runs that share one Slurm job, a warm process
    # How many runs share passes through one frozen backbone, if their methods allow it. auto: up to `AUTO` of
    # harness/launch/run_batching.py, if that is faster; locally only trials whose sampler needs no result of the
    # others, on Slurm the runs that share a job | off | a number: up to this many, sampled as with this many workers;
    # on Slurm, this many in each job
    fuse: str = "auto"
    detach: bool = False  # Slurm: the coordinator runs as a Slurm job, and the command returns at once


@dataclass
class SlurmConfig:
    """Resources and placement of Slurm jobs, set in slurm/*.yaml. Names are those of submitit and sbatch."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None  # features that a node must have
    exclude: str | None = None  # nodes that are never used
    nodelist: str | None = None  # nodes that may be used; a job takes one of them
    timeout_min: int = 240  # time limit of a job; a longer run writes a checkpoint, requeues itself and continues
    gpus_per_node: int = 0
    nodes_per_run: int = 1  # nodes among which launch.devices_per_run is divided
    gres: str | None = None  # e.g. gpu:a100:1; if it names GPUs it replaces gpus_per_node
    cpus_per_task: int = 2  # also the CPU threads of a run, unless launch.threads says otherwise
    mem_gb: float | None = 8.0
    signal_delay_s: int = 120  # seconds before the time limit at which a run is signaled to write a checkpoint
    array_parallelism: int = 256  # jobs of one array that run at once
    max_queued: int = 64  # jobs of a study that are pending or running at once
    setup: list[str] = field(default_factory=list)  # shell commands before Python starts
    environment: dict[str, str] = field(default_factory=dict)  # for coordinator and jobs; no secrets
    python: str | None = None  # command or path of Python in a job; null: that of this process
    srun_args: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # sbatch options without a key here
    poll_s: float = 30.0  # squeue or sacct is asked at most once in this many seconds, whatever the number of jobs
    pending_min: float | None = None  # minutes after which a pending job is given up; null: never
    bad_node_failures: int = 3  # consecutive jobs that fail at once on a node before it is excluded
    max_requeues: int = 100  # times a job is requeued, or a run is submitted elsewhere, before it is given up
    coordinator: dict[str, Any] = field(
        default_factory=lambda: {"timeout_min": 1440, "cpus_per_task": 1, "mem_gb": 4.0, "gpus_per_node": 0}
    )  # launch.detach: values for the coordinator's own job that replace the above


@dataclass
class HardwareConfig:
    """The name and price of a machine, set in conf/hardware/*.yaml. Prices are set by the user."""

    name: str | None = None
    dollars_per_hour: float | None = None  # of one GPU; without a GPU, of the whole machine; null: unknown
    cores: int | None = None  # CPU cores that the price buys, without a GPU; null: as many as this process may use
    gpu_name: str | None = None  # the GPU that the price is for; null: any device
    memory_gb: float | None = None  # of one GPU; without a GPU, of the machine; null: what this process may use


@dataclass
class BudgetConfig:
    """The budget of a whole study. When a limit is reached the study ends cleanly; a larger budget continues it."""

    seconds: float | None = None  # wall seconds during which a coordinator runs, over all restarts
    dollars: float | None = None  # dollars, at hardware.dollars_per_hour


@dataclass
class SweepConfig:
    """The name and overrides of a study, set in sweeps/*.yaml with the grammar of the command line."""

    name: str = "study"  # prefix of the study's default name
    params: dict[str, Any] = field(default_factory=dict)  # override: value or sweep, e.g. method: lora,full


@dataclass
class Config:
    """The configuration of a run or a study."""

    task: Any = None  # conf/task
    model: Any = None  # conf/model
    method: Any = None  # conf/method
    train: TrainConfig = field(default_factory=TrainConfig)
    # conf/augment, by name; applied one after another
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
    axes: list[str] = field(default_factory=list)  # keys whose sweeps make cells instead of being tuned
    seed: int = 0  # of a run: batch order, dropout, initial weights; not of the sampling of the data
    device: str = "auto"  # auto | cpu | cuda | mps
    study: str | None = None  # name of the study; null makes one from the sweep's name and the study's identity
    plan: bool = False  # print cells, trials, runs and their estimated cost; start none
    calibrate: bool = True  # plan=true measures cells without earlier runs; false lists them at once
    rerun: bool = False  # a single run executes although its record exists
    keep: str = "best"  # saved models that are kept: best (of each cell) | all | none
    runs_dir: str = "runs"  # where studies are kept
    reports_dir: str = "reports"  # where reports are written
    cache_dir: str = "~/.cache/harness"  # tokenized data, frozen features, digests
    cache_gb: float = 20.0  # size limit of the cache; the least recently used entries are deleted first; 0 keeps none
    # Python packages, besides harness and peft, whose classes a config may name
    packages: list[str] = field(default_factory=list)


def later_keys() -> dict[str, Any]:
    """Return the keys that `later` declared, with their defaults."""
    sections = [("", Config()), *((f"{each.name}.", getattr(Config(), each.name)) for each in fields(Config))]
    return {
        f"{prefix}{each.name}": getattr(section, each.name)
        for prefix, section in sections
        if is_dataclass(section)
        for each in fields(section)
        if LATER in each.metadata
    }


def _numbers(config: Config) -> Iterator[tuple[str, float]]:
    """Yield the floating-point values of the schema, by key."""
    sections = (TrainConfig, TuneConfig, ReportConfig, LaunchConfig, SlurmConfig, BudgetConfig, HardwareConfig)
    for schema in sections:
        name = schema.__name__.removesuffix("Config").lower()
        values = ((f"{name}.{each.name}", getattr(getattr(config, name), each.name)) for each in fields(schema))
        yield from ((key, value) for key, value in values if isinstance(value, float))
