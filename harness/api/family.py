"""Task families and how they are found: each folder of `harness/tasks/` declares one, as `FAMILY` in its `__init__`.

No other module lists the families, so a new one is one new folder. A declaration names its parts by import path; they
are imported on use, so that a report does not load torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from harness.api.metric import Direction, Metric

FIRST = "text_classification"  # family of files that were written before files named their family


@dataclass(frozen=True)
class TaskKind:
    """A class of tasks that a family has, such as one for files and one for generated data.

    Attributes:
        target: import path of the class.
        signed: see `harness.config.kinds.Kind`.
    """

    target: str
    signed: str | None = None


@dataclass(frozen=True)
class TaskFamily:
    """What the program knows of a task family before it loads one of its tasks.

    Attributes:
        name: of the family, in predictions, records and saved models.
        kinds: its classes of tasks, by the `kind` that configurations name.
        metrics: import path of its table of metrics, {name: Metric}; one of them is `loss`.
        runtime: import path of its `harness.tasks.runtime.TaskRuntime`; imports torch.
        report: import path of the module with its `FamilyReport`; imports no torch.
        inapplicable: keys of `train` without a meaning for it: {key: (value that turns it off, why)}.
        unused: keys without an effect on its models, such as the rate of a head. They are neither tuned nor axes.
        writes: whether its models write texts with their own language-modelling head, instead of a head on a pooled
            vector.
        tokens: whether its models predict something for each word of a row, by a head on token vectors.
        train_keys: keys of `train` that only it reads.
        retrieves: whether its models rank a collection of passages by the vectors of two texts, without a head.
        texts: columns of its predictions that hold texts of the data, which an archive of a study leaves out.
        reads: what its rows are: text | image | sound | interaction. Models and augmentations are for one of them.
        locates: whether its models find objects: boxes in images.
        example: import path of a function that returns rows to predict for as an example, as they are typed in Python,
            from the facts of a saved model; imports no torch.
    """

    name: str
    kinds: Mapping[str, TaskKind]
    metrics: str
    runtime: str
    report: str
    inapplicable: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    writes: bool = False
    tokens: bool = False
    train_keys: tuple[str, ...] = ()
    retrieves: bool = False
    texts: tuple[str, ...] = ()
    reads: str = "text"
    locates: bool = False
    example: str = "harness.api.family.example_texts"

    def example_call(self, facts: Mapping[str, Any]) -> str:
        """Return how a saved model is called from Python, as an example for the user.

        Args:
            facts: its harness.json.
        """
        return f"predict({part(self.example)(facts)})"


def example_texts(facts: Mapping[str, Any]) -> str:
    """Return a text, or two for a model of pairs."""
    return "['...'], ['...']" if facts.get("pairs") else "['...']"


@cache
def families() -> Mapping[str, TaskFamily]:
    """Return all families by name."""
    # By name, like a plug-in: the layer of contracts knows no family.
    package = importlib.import_module("harness.tasks")
    folders = sorted(each.name for each in pkgutil.iter_modules(package.__path__) if each.ispkg)
    found = [importlib.import_module(f"harness.tasks.{folder}").FAMILY for folder in folders]
    return {family.name: family for family in found}


@cache
def part(path: str) -> Any:
    """Import a part that a family names, `package.module.attribute`."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def family_of(name: str | None) -> TaskFamily:
    """Return a family by the name that a file gives; files without a name are of the first family."""
    return families()[name or FIRST]


def family_of_kind(kind: str | None) -> TaskFamily | None:
    """Return the family that has a kind of task; None for a class of the user's own."""
    return next((family for family in families().values() if kind in family.kinds), None)


def unused_keys(kind: str | None) -> tuple[str, ...]:
    """Return the keys that the family with a kind of task does not use; none for a class of the user's own."""
    family = family_of_kind(kind)
    return () if family is None else family.unused


@cache
def all_metrics() -> Mapping[str, Metric]:
    """Return the metrics of all families by name. Families that share a name share its scale and format."""
    tables = [part(family.metrics) for family in families().values()]
    return {name: metric for table in tables for name, metric in table.items()}


def metric_of(family: str | None, metric: str) -> Metric | None:
    """Return a metric of a family; None if this version does not know one of them."""
    known = families().get(family or FIRST)
    table: Mapping[str, Metric] = {} if known is None else part(known.metrics)
    return table.get(metric)


def direction_of(metric: str) -> Direction:
    """Return which values of a metric are better; `maximize` for a metric that this version does not know."""
    known = all_metrics().get(metric)
    return Direction.MAXIMIZE if known is None else known.direction
