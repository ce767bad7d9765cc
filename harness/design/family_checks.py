"""Checks of what a task's family allows: methods that are for it, and keys of `train` that have a meaning for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import harness
from harness.api.family import TaskFamily, families, family_of_kind
from harness.config.kinds import KINDS, kind_of
from harness.config.schema import Config
from harness.data.dataset import Dataset
from harness.design.cells import Cell, StudyRequest
from harness.design.model_checks import check_layer
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples
from harness.models import ResolvedModel
from harness.models.image_files.image_architectures import DETECTORS
from harness.models.pretrained import HISTORY, IMAGE_POOLINGS, INTERACTIONS, POOLINGS, SOUND_POOLINGS
from harness.models.start.find import best_saved
from harness.records.files import load_yaml, read_json
from harness.records.study_files import DESCRIPTION

RECOMMENDERS = "popularity, item_knn, ease and sasrec"
DETECTOR_MODELS = ("rt-detr-r18", "yolos-tiny")  # in conf/model
BOX_AUGMENTATIONS = ("image_flip", "image_flip_vertical", "image_color")
EVERY = "method=lora,full"  # a choice of methods that are for every family
DISTILLATION = "distillation"  # kind of the augmentation with a teacher
_POOLINGS = {"image": IMAGE_POOLINGS, "sound": SOUND_POOLINGS, "text": POOLINGS}
DEFAULT = "default"  # name of the sweep whose methods nobody chose


def suited(request: StudyRequest, arguments: Iterable[str]) -> StudyRequest:
    """Leave out the methods of sweeps/default.yaml that are not for the family of a cell's task, and say so.

    Methods that a command or a sweep of the user's own names stay, and are refused by `check_family`.
    """
    named = any(argument.lstrip("+").startswith("method=") for argument in arguments)
    if named or request.config.sweep.name != DEFAULT:
        return request
    kept = [cell for cell in request.cells if _is_for(cell)]
    if not kept or len(kept) == len(request.cells):
        return request
    lost = dict.fromkeys((cell.method, cell.task) for cell in request.cells if cell not in kept)
    tasks = dict.fromkeys(task for _, task in lost)
    notes = [
        f"{', '.join(method for method, of in lost if of == task)}: not for task={task}, and left out of the default "
        "methods. Name methods with method=..."
        for task in tasks
    ]
    return replace(request, cells=kept, notes=(*request.notes, *notes))


def _is_for(cell: Cell) -> bool:
    family = family_of_kind(kind_of(cell.config.task))
    wanted = (cell.config.method.get("about") or {}).get("tasks")
    return family is None or not wanted or family.name in wanted


def check_family(cell: Cell, base: Mapping[str, Any], data: Dataset | None, problems: Problems) -> None:
    """Add a problem for a method that is for other families, and for each value without a meaning for this one.

    Args:
        cell: the cell.
        base: its resolved configuration.
        data: of its task; None if it could not be loaded.
        problems: added to.
    """
    if data is None or not isinstance(base.get("method"), Mapping):
        return  # another check says so
    name = data.family
    wanted = (base["method"].get("about") or {}).get("tasks") or (name,)
    problems.check(
        name in wanted,
        f"method={cell.method} is for {', '.join(wanted)}, and task={cell.task} is {name}. "
        f"{_methods_for(families()[name])}",
    )
    problems.check(
        not (
            (families()[name].writes or families()[name].tokens or families()[name].retrieves)
            and base.get("augment")
            and "augment" not in (base["method"].get("ignores") or ())
        ),
        f"augment={','.join(base.get('augment') or ())} copies texts with a label, and task={cell.task} is {name}: "
        "leave it out.",
    )
    _check_inputs(cell, base, families()[name], problems)
    _check_teachers(cell, base, data, problems)
    _check_batches(cell, base, data, problems)
    for key in families()[name].unused:
        problems.check(
            key not in cell.variant,
            f"axes=[{key}]: {key} has no effect on task={cell.task}, which is {name}, so its cells would be the same. "
            f"Leave {key} out.",
        )
    for message in _inapplicable(cell, base, families()[name]):
        problems.add(message)


def check_modality(
    cell: Cell, base: Mapping[str, Any], data: Dataset, model: ResolvedModel, problems: Problems
) -> None:
    """Add a problem for a model that reads something else than the task has, and for a pooling of the other kind.

    Args:
        cell: the cell.
        base: its resolved configuration.
        data: of its task.
        model: its model.
        problems: added to.
    """
    reads = model.reads
    wanted = families()[data.family].reads
    fitting = _POOLINGS.get(wanted, (base["model"].get("pooling", HISTORY),))
    if families()[data.family].retrieves:
        fitting = tuple(each for each in fitting if each != "model")  # a head gives no vectors to compare
    tuned = cell.space.get("model.pooling")
    poolings = [base["model"].get("pooling", fitting[0])] if tuned is None else tuned.extremes
    if reads != wanted:
        problems.add(
            f"model={cell.model} ({model.architecture}) reads {reads}s, and the rows of task={cell.task} are "
            f"{wanted}s. Models that read {wanted}s: {', '.join(_models_for(families()[data.family]))}."
        )
    elif model.architecture in DETECTORS and not families()[data.family].locates:
        problems.add(
            f"model={cell.model} ({model.architecture}) finds objects, and task={cell.task} is {data.family}. Models "
            f"for it: {', '.join(_models_for(families()[data.family]))}."
        )
    elif wrong := [each for each in poolings if each not in fitting]:
        what = data.family if families()[data.family].retrieves else f"{wanted}s"
        problems.add(f"model.pooling={wrong[0]} is not for {what}: choose {', '.join(fitting)}.")
    else:
        given = base["model"].get("layer") is not None or "model.layer" in cell.space
        problems.check(
            not ((families()[data.family].locates or families()[data.family].writes) and given),
            f"model.layer has no meaning for task={cell.task}, whose models need all their blocks: leave it null.",
        )
        check_layer(cell, base, model, problems)


@cache
def models_that_read(kind: str) -> tuple[str, ...]:
    """Return the names in conf/model of the models for texts, images, sounds or interactions."""
    found = []
    package = Path(harness.__file__).resolve().parent  # conf is in the package of a wheel, else beside it
    root = package if (package / "conf").is_dir() else package.parent
    for file in sorted((root / "conf" / "model").glob("*.yaml")):
        settings = load_yaml(file.read_text(encoding="utf-8"))
        marks = {"image_size": "image", "sampling_rate": "sound"}  # keys that only YAMLs of one modality have
        reads = next((kind for key, kind in marks.items() if key in settings), "text")
        reads = "interaction" if settings["kind"] == INTERACTIONS else reads
        if reads == kind:
            found.append(file.stem)
    return tuple(found)


def _models_for(family: TaskFamily) -> list[str]:
    """Return the names in conf/model of the models for a family."""
    return [each for each in models_that_read(family.reads) if family.locates or each not in DETECTOR_MODELS]


def _check_inputs(cell: Cell, base: Mapping[str, Any], family: TaskFamily, problems: Problems) -> None:
    """Add a problem for a method, or for augmentations, that need rows of another kind."""
    usual = ("text", "image", "sound") if family.reads == "interaction" else (family.reads,)
    needed = (base["method"].get("about") or {}).get("inputs") or usual
    problems.check(
        family.reads in needed,
        f"method={cell.method} is for {' and '.join(f'{each}s' for each in needed)}, and the rows of task={cell.task} "
        f"are {family.reads}s. {_methods_for(family)}",
    )
    if "augment" in (base["method"].get("ignores") or ()):
        return
    for name, node in (base.get("augment") or {}).items():
        kind = KINDS.get(kind_of(node) or "")
        if family.locates and kind is not None and kind.reads == "image":
            with_boxes = [each for each in KINDS if each in BOX_AUGMENTATIONS]
            problems.check(
                kind_of(node) in BOX_AUGMENTATIONS,
                f"augment={name} would move objects away from their boxes in task={cell.task}. For images with boxes: "
                f"{', '.join(with_boxes)}.",
            )
        if kind is not None and kind.reads != family.reads:
            fitting = [
                each for each, other in KINDS.items() if other.section == "augment" and other.reads == family.reads
            ]
            problems.add(
                f"augment={name} changes {kind.reads}s, and the rows of task={cell.task} are {family.reads}s. "
                + (
                    f"For {family.reads}s: {', '.join(fitting)}."
                    if fitting
                    else "Leave it out: there is none for these."
                )
            )


def _check_teachers(cell: Cell, base: Mapping[str, Any], data: Dataset, problems: Problems) -> None:
    """Add a problem for a teacher of rows or classes that the task has not; whether it is there, others check."""
    if "augment" in (base["method"].get("ignores") or ()):
        return
    for name, node in (base.get("augment") or {}).items():
        if kind_of(node) != DISTILLATION:
            continue
        if data.family != "text_classification" or data.pairs:
            rows = "pairs of texts" if data.pairs else data.family
            problems.add(
                f"augment={name} teaches classes of single texts, and task={cell.task} is {rows}: leave it out."
            )
            continue
        with suppress(HarnessError):
            teacher = best_saved(str(node.get("teacher_path")), name)
            classes = read_json(teacher / DESCRIPTION).get("labels") or ()
            if unknown := sorted({str(each) for each in classes} - set(getattr(data, "labels", ()))):
                problems.add(
                    f"augment.{name}.teacher_path={node['teacher_path']} predicts classes that task={cell.task} has "
                    f"not: {examples(unknown)}. Name a teacher of the same task."
                )


def _check_batches(cell: Cell, base: Mapping[str, Any], data: Dataset, problems: Problems) -> None:
    """Add a problem for batches of one row where rows are told from the others of their batch alone."""
    if not families()[data.family].retrieves or "train" in (base["method"].get("ignores") or ()):
        return
    tuned = cell.space.get("train.batch_size")
    sizes = [base["train"].get("batch_size")] if tuned is None else tuned.extremes
    problems.check(
        1 not in sizes or (base["task"].get("hard_negatives", 0) > 0 and data.facts.get("with_negatives", 0) > 0),
        "train.batch_size=1 leaves a query without other passages to be told from: set train.batch_size=16 or more, or "
        "name passages that are not relevant (task.negatives).",
    )


def _methods_for(family: TaskFamily) -> str:
    if family.reads == "interaction":
        return f"Methods that are: {RECOMMENDERS}."
    return f"Choose methods for every task, such as {EVERY}; docs/methods.md says which are not."


def _inapplicable(cell: Cell, base: Mapping[str, Any], family: TaskFamily) -> Iterator[str]:
    if "train" in (base["method"].get("ignores") or ()):
        return
    elsewhere = {
        key: (_default(key), f"it is for {other.name}")
        for other in families().values()
        for key in other.train_keys
        if key not in family.train_keys
    }
    for key, (off, why) in {**family.inapplicable, **elsewhere}.items():
        section, _, leaf = key.partition(".")
        tuned = cell.space.get(key)
        values = [base[section][leaf]] if tuned is None else tuned.extremes
        # A value of another type is told elsewhere.
        kinds = bool if isinstance(off, bool) else int | float if isinstance(off, int | float) else object
        values = [value for value in values if isinstance(value, kinds)]
        if wrong := [value for value in values if value != off]:
            yield (
                f"{key}={_shown(wrong[0])} has no meaning for task={cell.task}, which is {family.name}: {why}. Leave "
                f"it at {_shown(off)}."
            )


def _default(key: str) -> Any:
    return getattr(Config().train, key.partition(".")[2])


def _shown(value: Any) -> str:
    """Write a value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
