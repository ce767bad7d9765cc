"""The signature of a run: a hash of everything that determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.kinds import kind_of, signed
from harness.config.schema import later_keys

NUMERICS_VERSION = 2  # increased when training gives other results, so that old records are not reused


# The same for single methods, by kind or by the import path of a user's class.
METHOD_NUMERICS = {"last_layers": 1}  # 1: dropout is off in blocks that are not trained


# Keys that say where and how a run executes, not what it computes. All other keys are part of a run's signature.
OPERATIONAL = (
    "tune", "confirm", "report", "launch", "slurm", "budget", "hardware", "sweep", "axes", "study", "plan", "calibrate",
    "rerun", "keep", "runs_dir", "reports_dir", "cache_dir", "cache_gb", "packages", "device", "method.space",
    "method.resources", "method.about", "model.resources", "tracker", "train.checkpoint_seconds",
    "train.eval_batch_size", "train.init",  # the digest of the model represents what it starts from
    # The data's fingerprint and the model's digest represent the sources they were read from.
    "task.path", "task.validation_path", "task.test_path", "task.folder", "task.files", "task.hub",
    "task.format", "task.encoding", "task.separator", "task.columns", "task.quoting", "task.text", "task.label",
    "task.label_names", "task.group", "task.feedback", "task.feedback_classes", "task.passages",
    "task.retain", "task.translation",  # the last only refuses models
    "model.path", "model.hub", "model.revision", "model.bundled", "model.digests",
    "model.digests_of",
    "model.quantize", "model.quantise",  # the latter in runs of earlier versions
)  # fmt: skip


# Keys that were added after runs had been signed. At these defaults, which change nothing, they are left out of
# signatures, so earlier records stay valid. Keys of the schema are declared with `harness.config.schema.later`; keys
# of a task, a model or a method are added here.
DEFAULTS_OF_LATER_KEYS: dict[str, Any] = later_keys() | {
    "method.alpha": 1.0, "task.slots": None, "task.judges": None, "task.oos_label": None, "model.layer": None,
}  # fmt: skip


# Other values of such keys that compute the same as the default. A run whose configuration has no value for
# `train.dropout_masks`, or `auto`, is of a version that had no other masks.
SAME_AS_DEFAULT = {"train.dropout_masks": ("native",)}


SHARED = ("train.precision",)  # changes frozen features, so it matters for every method


def signature(config: Mapping[str, Any], phase: str, fingerprint: str, model_digest: str) -> str:
    """Hash what a run computes; 16 hex digits.

    Args:
        config: the resolved configuration; keys in `OPERATIONAL` and the location of built-in classes do not count.
        phase: phase of the run. Tuning never sees the test split, so tuning and confirmation runs of one configuration
            differ.
        fingerprint: fingerprint of the data.
        model_digest: digest of the pretrained weights and of the models used for augmentation (see `models_digest`).
    """
    content = {
        "config": without(signed(config), (*OPERATIONAL, *ignored_keys(config))),
        "phase": phase,
        "data": fingerprint,
        "model": model_digest,
        "numerics_version": NUMERICS_VERSION,
    }
    if (version := METHOD_NUMERICS.get(str(kind_of(config.get("method"))))) is not None:
        content["method_numerics"] = version
    return digest(content)[:16]


def models_digest(model: str, others: Iterable[str]) -> str:
    """Return one digest of all models that a run reads; the pretrained model's own digest if it is the only one."""
    found = list(others)
    return digest([model, *found]) if found else model


def joint_group_key(task: Any, model: Any, variant: Any) -> str:
    """Return the key of the cells that one joint study tunes, independent of the order of their axes."""
    return json.dumps([task, model, variant], sort_keys=True, default=str)


def ignored_keys(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that have no effect in this configuration.

    These are later keys at their defaults, and the sections that the method ignores, except keys in `SHARED`, which
    affect every method through frozen features.
    """
    sections = (config.get("method") or {}).get("ignores") or ()
    keys = [f"{section}.{key}" for section in sections for key in config.get(section) or {}]
    off = [
        key
        for key, value in DEFAULTS_OF_LATER_KEYS.items()
        if key in sections or _at(config, key) in (value, *SAME_AS_DEFAULT.get(key, ()))
    ]
    return (*(key for key in keys if key not in SHARED), *off)


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON-able content, independent of the order of keys, as hex digits."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def without(config: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    """Return a configuration without some keys, named by dotted path; a section is removed with all its keys."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if path not in keys:
            kept[key] = without(value, keys, f"{path}.") if isinstance(value, Mapping) else value
    return kept


def published(config: Mapping[str, Any], kept: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a configuration without the private keys that say where and how a run executes.

    Args:
        config: the resolved configuration.
        kept: keys of `OPERATIONAL` that stay.
    """
    found = without(config, tuple(key for key in OPERATIONAL if key not in kept))
    if isinstance(augmentations := found.get("augment"), Mapping):
        # Their paths are part of signatures, so OPERATIONAL does not contain them.
        found["augment"] = {
            name: {key: value for key, value in node.items() if not key.endswith("path")}
            if isinstance(node, Mapping)
            else node
            for name, node in augmentations.items()
        }
    return found
