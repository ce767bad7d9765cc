"""Names of keys and search spaces in other programs, and their equivalents here."""

from __future__ import annotations

import re

from harness.errors import typed

# Names that other programs have for a key.
HABITS = {
    "learning_rate": "train.lr", "lrate": "train.lr", "num_epochs": "train.epochs", "num_train_epochs": "train.epochs",
    "max_epochs": "train.epochs", "n_epochs": "train.epochs", "bs": "train.batch_size",
    "train_batch_size": "train.batch_size", "per_device_train_batch_size": "train.batch_size",
    "per_device_eval_batch_size": "train.eval_batch_size", "gradient_accumulation_steps": "train.accumulate",
    "accumulate_grad_batches": "train.accumulate", "max_grad_norm": "train.clip", "gradient_clip_val": "train.clip",
    "warmup_ratio": "train.warmup", "wd": "train.weight_decay", "lr_scheduler_type": "train.schedule",
    "scheduler": "train.schedule", "label_smoothing_factor": "train.label_smoothing", "bf16": "train.precision",
    "fp16": "train.precision", "early_stopping_patience": "train.patience", "random_state": "seed",
    "n_trials": "tune.trials", "num_samples": "tune.trials", "num_trials": "tune.trials", "timeout": "tune.seconds",
    "n_jobs": "launch.workers", "num_workers": "launch.workers", "max_concurrent": "launch.workers",
    "study_name": "study", "experiment_name": "study", "run_name": "study", "output_dir": "runs_dir",
    "mem": "slurm.mem_gb", "memory": "slurm.mem_gb", "gpus": "slurm.gpus_per_node", "time": "slurm.timeout_min",
    "cpus": "slurm.cpus_per_task", "nodes": "slurm.nodelist", "max_seq_length": "task.max_length",
    "max_len": "task.max_length", "rank": "method.config.r",
    # Of earlier versions, but for quantization.
    "pack": "train.packing", "quantise": "model.quantize", "quantization": "model.quantize",
}  # fmt: skip

# Search spaces of other programs.
_LOG, _EVEN = "'{key}=tag(log,interval(1e-5,1e-2))'", "'{key}=interval(0,0.5)'"
SPACES = {
    "loguniform": _LOG, "log_uniform": _LOG, "qloguniform": _LOG, "logspace": _LOG, "log": _LOG, "uniform": _EVEN,
    "quniform": _EVEN, "linspace": _EVEN, "randint": "'{key}=range(1,9)'", "grid_search": "{key}=a,b",
    "categorical": "{key}=a,b", "choices": "{key}=a,b",
}  # fmt: skip

_KEPT = ("hydra.verbose", "hydra/job_logging", "hydra/hydra_logging", "hydra.job_logging", "hydra.hydra_logging")
_DEFAULTS = {"hydra/launcher": "basic", "hydra/sweeper": "harness", "hydra.job.chdir": "false", "hydra.run.dir": "."}
_PLACES = "launch.kind=local launch.workers=4, or slurm=<profile> on a cluster, set where runs execute"
_TUNING = "a study (-m) is always tuned with the keys of tune: tune.sampler=tpe tune.trials=16"
_DIRECTORIES = "studies are kept in runs_dir=<directory>, their reports in reports_dir=<directory>"
_ANSWERS = (
    (r"hydra[/.]launcher\b.*", _PLACES),
    (r"hydra\.sweeper\.(n_trials|max_trials)", "{tune.trials}"),
    (r"hydra\.sweeper\.(n_jobs|max_batch_size)", "{launch.workers}"),
    (r"hydra\.sweeper\.study_name", "{study}"),
    (r"hydra\.sweeper\.storage", "{tune.storage}"),
    (r"hydra\.sweeper\.sampler\.seed", "{tune.seed}"),
    (r"hydra\.sweeper\.(params|search_space)\b.*", "a sweep tunes its key: train.lr=1e-4,1e-3, for example"),
    (r"hydra\.sweeper\.direction", "task.metric determines which values are better"),
    (r"hydra[/.]sweeper\b.*", _TUNING),
    (r"hydra\.(run|sweep)\.(dir|subdir)", _DIRECTORIES),
    (r"hydra\.job\.chdir", "runs stay in the current directory, and " + _DIRECTORIES),
    (r"hydra\.output_subdir", "a run's configuration is in its record.json; " + _DIRECTORIES),
    (r"hydra\.searchpath", "give your own directory of YAMLs with --config-dir <directory>"),
    (r"hydra\.mode", "-m makes a study; without it there is one run"),
    (r"hydra\.job\.name", "study=<name> names a study"),
    (r"hydra\.job\.(env_set|env_copy)\b.*", "set variables in the shell; for jobs write +slurm.environment.NAME=value"),
)  # fmt: skip


# For a section `hydra` inside a section of the configuration.
NOT_IN_A_SECTION = (
    "Hydra's own settings have no effect in a YAML: remove its section `hydra`. `python -m harness --help` lists what "
    "can be set."
)


def hydra_answer(key: str, value: str) -> str | None:
    """Return what to write instead of an override of Hydra's own configuration; None if the override has an effect."""
    if key.startswith(_KEPT) or _DEFAULTS.get(key) == value.lower():
        return None
    for pattern, answer in _ANSWERS:
        if re.fullmatch(pattern, key):
            if answer.startswith("{"):
                plain = value.strip("'\"")
                written = f"{answer[1:-1]}={plain or '<value>'}"
                return "this key of Hydra has no effect here. Write " + (
                    written if plain.isdigit() or not plain else typed(answer[1:-1], plain)
                )
            return f"this key of Hydra has no effect here: {answer}."
    return "this key of Hydra has no effect here. `python -m harness --help` lists what can be set."
