"""The table of costs: what records and reports measure besides the metric. Imports nothing.

To add a cost, add an entry to `COSTS`, and record its value: in the `Costs` (`harness.runs.costs`) that a part of a run
returns. The entry puts it into the columns of records.parquet, table.csv and the page, makes it a name that
`report.cost` takes, and, if `tuned`, one that `tune.objectives` and `tune.constraints` take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECONDS, LATENCY, BYTES, MEGABYTES, JOULES, DOLLARS, COUNT, RATE, SHARE = (
    "seconds", "latency", "bytes", "megabytes", "joules", "dollars", "count", "per second", "share",
)  # fmt: skip
# Units that the ending of a name implies; all other names are counts.
ENDINGS = {
    "_per_second": RATE, "_seconds": SECONDS, "_bytes": BYTES, "_mb": MEGABYTES, "_joules": JOULES, "dollars": DOLLARS,
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One cost.

    Attributes:
        name: key in records, tables and configurations; it ends with its unit.
        head: short heading, for tables.
        title: name in sentences and on axes.
        about: explanation, one sentence.
        unit: one of the constants above; None takes the unit that the ending of the name implies.
        better: lower | higher | "" if neither is better.
        measured: when its value is known.
            run: timed or counted while the run computes; other work in its process changes it.
            counted: the same whatever else the process does, so fused runs record it as well.
            alone: it belongs to a process, so it is known only for runs that have theirs alone.
            serving: timed after training, in confirmations, and in tuning if the search uses it.
            report: computed by the report from other costs.
        parts: how a run joins the values of its parts, such as folds.
            sum: they are added; seconds always are.
            max: the largest counts.
            "": that of the last part counts.
        attempts: how a run that continues after a pause adds to the value of its earlier attempts.
            sum, max: the value of this attempt is joined to the earlier one when the attempt ends.
            carried: the attempt starts from the earlier value, and adds to it itself.
            "": the value of the last attempt covers all of them.
        cell: how a report summarizes a cell.
            mean: over the confirmed runs.
            max: over all runs.
            first: the value of any run of the reported configuration.
            tuning: the sum of the cost `of` over the tuning runs.
            derived: by a rule of its own (`harness.report.analysis`).
            "": not in reports' tables, only in the details of a cell.
        of: see `cell`.
        tuned: whether a study may optimize for it, so that tuning measures it.
        one_model: known only for runs that end with one model, so not with `task.validation=kfold`.
        once: paid by the first run of a worker or a study, and not by those that follow.
        serves: counts serving, so it needs a number of requests (`report.requests_per_month`).
        of_data: only the data of some tasks measure it, those whose facts name it under `costs`.
        display: which tables for people show it: main (all) | wide (all but the page's first table) | "" (the page's
            table of costs). On narrow terminals the last entries of this table are dropped first.
        former_names: names in records of earlier versions.
    """

    name: str
    head: str
    title: str
    about: str
    unit: str | None = None
    better: str = "lower"
    measured: str = "run"
    parts: str = ""
    attempts: str = ""
    cell: str = ""
    of: str = ""
    tuned: bool = False
    one_model: bool = False
    once: bool = False
    serves: bool = False
    of_data: bool = False
    display: str = ""
    former_names: tuple[str, ...] = ()


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("params_trainable", "trainable", "number of trainable parameters", "Trained parameters.",
             measured="counted", cell="first", tuned=True, display="main"),
        Cost("train_seconds", "train", "training time", "Net training time of a confirmed run, mean.",
             cell="mean", tuned=True, display="main"),
        Cost("tune_seconds", "tuning", "tuning time", "Sum over the tuning runs of their total time.",
             measured="report", cell="tuning", of="total_seconds", display="main"),
        Cost("peak_memory_mb", "memory", "peak memory", "Peak memory, the largest of the cell's runs.",
             measured="alone", attempts="max", cell="max", tuned=True, display="main"),
        Cost("ownership_dollars", "total cost", "total cost of ownership",
             "Dollars of tuning, training and the requests of report.requests_per_month for report.months.",
             measured="report", cell="derived", serves=True, display="wide"),
        Cost("dollars", "dollars", "dollars of a training run",
             "Price of a confirmed run, mean, at the price of the study's hardware.",
             measured="report", cell="derived", display="wide"),
        Cost("latency_p50_seconds", "latency p50", "median latency",
             "Median latency of one text at a time, tokenization included.",
             LATENCY, measured="serving", cell="mean", tuned=True, one_model=True, display="wide"),
        Cost("saved_bytes", "saved", "saved size", "What the adapted model adds on disk.",
             measured="counted", cell="mean", tuned=True, one_model=True, display="wide"),
        Cost("energy_joules", "energy", "energy of a training run",
             "Energy that the GPU drew during a confirmed run, mean.",
             measured="alone", attempts="sum", cell="mean", display="wide"),
        Cost("ownership_seconds", "total machine time", "machine time of tuning, training and serving",
             "Seconds of tuning, training and the requests of report.requests_per_month for report.months.",
             measured="report", cell="derived", serves=True, display="wide"),
        Cost("forgetting", "forgetting", "forgetting",
             "Mean loss of a token of general text (task.retain) after training minus before, in nats.",
             measured="counted", cell="mean", tuned=True, one_model=True, of_data=True, display="wide"),
        Cost("forgotten_accuracy", "forgotten", "accuracy forgotten",
             "Accuracy on the questions of task.retain before training minus after.",
             measured="counted", cell="mean", tuned=True, one_model=True, of_data=True, display="wide"),
        Cost("retained_loss", "retained loss", "loss on general text",
             "Mean loss of a token of general text (task.retain) after training, in nats.",
             measured="counted", cell="mean", one_model=True, of_data=True),
        Cost("retained_accuracy", "retained accuracy", "accuracy kept",
             "Accuracy on the questions of task.retain after training.",
             better="higher", measured="counted", cell="mean", one_model=True, of_data=True),
        Cost("latency_p95_seconds", "latency p95", "95th percentile of latency",
             "95th percentile of the latency of one text at a time, tokenization included.",
             LATENCY, measured="serving", cell="mean", tuned=True, one_model=True),
        Cost("throughput_per_second", "texts/s", "throughput", "Texts per second in batches of 32.",
             better="higher", measured="serving", cell="mean", one_model=True),
        Cost("single_tokens_per_second", "tokens/s at 1", "tokens written per second, one prompt at a time",
             "Tokens written per second, one prompt at a time.",
             better="higher", measured="serving", cell="mean", one_model=True),
        Cost("batch_tokens_per_second", "tokens/s at 32", "tokens written per second in batches",
             "Tokens written per second in batches of 32 prompts.",
             better="higher", measured="serving", cell="mean", one_model=True),
        Cost("thousand_tokens_seconds", "1,000 tokens", "time to write 1,000 tokens",
             "Time to write 1,000 tokens in batches of 32 prompts.", LATENCY,
             measured="serving", cell="mean", one_model=True),
        Cost("thousand_tokens_dollars", "price of 1,000 tokens", "dollars of 1,000 written tokens",
             "Price of writing 1,000 tokens in batches of 32 prompts, at the price of the study's hardware.",
             measured="report", cell="derived"),
        Cost("prompt_tokens", "prompt tokens", "tokens of a prompt",
             "Tokens that the model reads for a prompt, examples in it included, mean over the test rows.",
             measured="counted", cell="mean"),
        Cost("output_tokens", "output tokens", "tokens of an output", "Tokens of an output, mean over the test rows.",
             better="", measured="counted", cell="mean"),
        Cost("total_seconds", "whole run", "time of a whole run",
             "Time of a confirmed run with all that it does, mean.", attempts="sum", cell="mean", tuned=True),
        Cost("accelerator_seconds", "accelerator", "accelerator time of a run",
             "Time of a confirmed run on a GPU, its share if runs share one, mean.", attempts="sum", cell="mean"),
        Cost("core_seconds", "core time", "core time of a run",
             "Time of a confirmed run times its CPU threads, mean.", attempts="sum", cell="mean"),
        Cost("tune_dollars", "tuning dollars", "dollars of tuning", "Sum of the prices of the tuning runs.",
             measured="report", cell="tuning", of="dollars"),
        Cost("evaluate_share", "evaluating", "share of evaluation",
             "Share of a confirmed run's time that evaluation takes.",
             SHARE, better="", measured="report", cell="derived"),
        Cost("evaluate_seconds", "evaluate", "evaluation time", "Time of evaluation."),
        Cost("data_seconds", "data", "time to read the data", "Time to read and tokenize the data.",
             attempts="carried", once=True),
        Cost("model_seconds", "model", "time to load the model", "Time to load the pretrained model.",
             attempts="carried", once=True),
        Cost("head_seconds", "head", "time to start the head", "Time to fit the initial head.",
             attempts="carried", once=True),
        Cost("features_seconds", "features", "time to compute features", "Time to compute frozen features.",
             attempts="carried", once=True),
        Cost("augment_seconds", "augment", "time to augment", "Time to make augmented rows.", attempts="carried"),
        Cost("save_seconds", "save", "time to save", "Time to write predictions and the model."),
        Cost("retain_seconds", "retention", "time to measure retention",
             "Time to measure what was kept (task.retain)."),
        Cost("serve_seconds", "serve", "time to measure serving", "Time to measure latency and throughput."),
        Cost("samples_per_second", "rows/s", "rows trained per second", "Rows per second of training.",
             better="higher"),
        Cost("tokens_per_second", "tokens/s", "tokens trained per second", "Tokens per second of training.",
             better="higher"),
        Cost("params_total", "parameters", "number of parameters", "Parameters of the whole model.",
             measured="counted"),
        Cost("threads", "threads", "CPU threads", "CPU threads of the run.", better="", measured="counted"),
        Cost("steps", "steps", "optimizer steps", "Optimizer steps.", better="", measured="counted", parts="sum"),
        Cost("samples", "rows", "rows of training", "Rows that training read, in all epochs.", better="",
             measured="counted", parts="sum"),
        Cost("tokens", "tokens", "tokens of training", "Tokens that training read, in all epochs.", better="",
             measured="counted", parts="sum"),
        Cost("resumes", "resumes", "continuations", "How often training continued from a checkpoint.", better="",
             parts="sum"),
        Cost("epochs", "epochs", "epochs", "Epochs that were trained.", better="", measured="counted"),
        Cost("best_epoch", "best epoch", "best epoch", "The epoch whose weights were kept.", better="",
             measured="counted"),
        Cost("fused_runs", "fused runs", "number of fused runs",
             "With how many runs at most it was trained together, itself included.",
             better="", parts="max", attempts="carried", former_names=("pack_size",)),
    )
}  # fmt: skip


def unit_of(name: str) -> str:
    """Return the unit of a cost, also of one that this version does not know."""
    if name in COSTS and (unit := COSTS[name].unit) is not None:
        return unit
    return next((unit for ending, unit in ENDINGS.items() if name.endswith(ending)), COUNT)


def parts(name: str) -> str:
    """Return how a run joins the values of its parts, see `Cost.parts`."""
    return "sum" if unit_of(name) == SECONDS else COSTS[name].parts if name in COSTS else ""


def recorded() -> tuple[str, ...]:
    """Return the names of the costs that records hold."""
    return tuple(name for name, cost in COSTS.items() if cost.measured != "report")


def reported() -> tuple[str, ...]:
    """Return the names of the costs that reports have a column for."""
    return tuple(name for name, cost in COSTS.items() if cost.cell)


def choosable() -> tuple[str, ...]:
    """Return the names that `report.cost` takes: reported costs of which less is better."""
    return tuple(name for name in reported() if COSTS[name].better == "lower")


def tuned() -> tuple[str, ...]:
    """Return the names that `tune.objectives` and `tune.constraints` take, in alphabetical order."""
    return tuple(sorted(name for name, cost in COSTS.items() if cost.tuned))


def joined(*attempts: str) -> tuple[str, ...]:
    """Return the names of the costs that add up over attempts in one of these ways."""
    return tuple(name for name, cost in COSTS.items() if cost.attempts in attempts)


def once() -> tuple[str, ...]:
    """Return the names of the costs that only first runs pay."""
    return tuple(name for name, cost in COSTS.items() if cost.once)


def displayed(where: str) -> tuple[str, ...]:
    """Return the names of the costs that tables for people show; see `Cost.display`."""
    return tuple(name for name, cost in COSTS.items() if cost.display == where)


def renamed(costs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's costs with present names for those of earlier versions."""
    former = {old: name for name, cost in COSTS.items() for old in cost.former_names}
    return {former.get(name, name): value for name, value in costs.items()}
