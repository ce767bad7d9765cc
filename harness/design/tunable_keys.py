"""Which keys may be tuned or be axes, and what to write instead for those that may not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from harness.config.key_types import is_list, is_text, sections
from harness.config.overrides import COMBINED
from harness.errors import HarnessError, Problems
from harness.records.signature import OPERATIONAL, SHARED

# Groups whose choices are alternatives; those of `COMBINED` may be combined in a list.
ALTERNATIVES = ("task", "model", "method", "sweeps", "slurm", "hardware")
# Groups and sections that belong to the study as a whole, so they cannot differ between cells.
OF_THE_STUDY = (
    "tune", "confirm", "report", "launch", "slurm", "budget", "hardware", "sweep", "sweeps", "axes", "study", "plan",
    "calibrate", "rerun", "keep", "runs_dir", "reports_dir", "tracker", "hydra", "seed",
)  # fmt: skip
SOURCES = ("path", "hub", "bundled", "digests", "digests_of")  # keys that identify a model
# Keys resolved once per cell before its runs start: they may differ between cells, but not between trials of a cell.
FOUND_BEFORE = ("model.revision", "model.quantize", "train.init", "train.dropout_masks")
WEIGHTS = (  # of an augmentation's model
    "path", "hub", "revision", "back_path", "back_hub", "back_revision", "teacher_path", "unlabelled_path",
)  # fmt: skip
# Keys with a value `error`, and what they are about.
FAULTS = {
    "task.unreadable": "files that cannot be read", "task.faulty": "faulty boxes",
    "task.short_users": "users with too few interactions",
}  # fmt: skip


def of_the_study(key: str) -> bool:
    """Return whether a key belongs to the study as a whole."""
    return key.replace("/", ".").partition(".")[0] in OF_THE_STUDY


def refusal(key: str, several: str, axis: bool = False) -> str | None:
    """Return why a key cannot have several values in a study, and what to write instead; None if it can.

    Args:
        key: a key of the configuration, or a group.
        several: the values as written.
        axis: whether the values would make cells; otherwise they would be tuned.
    """
    section, _, rest = key.partition(".")
    leaf = key.rpartition(".")[2]
    choose = f"Choose between YAMLs: {section}=a,b."
    before = key in FOUND_BEFORE or (section == "augment" and leaf in WEIGHTS)
    named = key in ("task.name", "model.name", "method.name") or (section == "augment" and leaf == "name")
    rules = (
        (
            leaf.startswith("_") or (leaf == "kind" and section != "launch"),
            f"{key} names the code of the {section}, which has one. {choose}",
        ),
        (named, f"{key} is what tables call the {section}; it does not change what is computed. {choose}"),
        (
            section == "model" and rest.partition(".")[0] in SOURCES,
            f"{key} says where one model is from, and two sources are two models. Write a YAML for each, with a name: "
            "of its own, in a directory model/ (--config-dir), and choose: model=a,b.",
        ),
        (
            key in FAULTS,
            f"{key} says what becomes of {FAULTS.get(key)}. Where there are some, error ends the study; where there "
            "are none, its cells would be the same. Give it one value.",
        ),
        (
            key == "task.least_score",
            "task.least_score changes which answers a saved model gives, and no metric: its cells would be the same. "
            "Give it one value.",
        ),
        (before and not axis, f"{key} is not tuned. For a cell each, add axes=[{key}]."),
        (
            of_the_study(key) or (operational(key) and not before and section != "task"),
            _one_value(key, several.removeprefix("choice(").removesuffix(")") if "choice(" in several else several),
        ),
        (
            key in (*sections(), "method.config") or (not axis and key in ("task", "model", "method", "augment")),
            f"{key} is a section. Name the key in it that has several values: {key}.<key>=...",
        ),
        (section == "task" and not axis, f"keys of a task make cells; they are not tuned. As an override: {key}=a,b."),
    )
    return next((reason for applies, reason in rules if applies), None)


def operational(key: str) -> bool:
    """Return whether a key affects only where and how runs execute, and not what they compute."""
    return any(key == one or key.startswith(f"{one}.") for one in OPERATIONAL)


def _one_value(key: str, several: str) -> str:
    """Return what to write instead of several values of a key that affects only where and how runs execute.

    Args:
        key: a key of the configuration, or a group.
        several: the values, with commas between them.
    """
    plain = "(" not in several and "{" not in several
    items = several.replace("[", "").replace("]", "") if plain else "..."
    what = f"{key} does not change what a run computes, so it has one value in a study."
    compare = key.startswith(("tune.", "confirm.", "report.", "budget.")) or key in ("device", "keep")
    rules = (
        (
            key in ("seed", "confirm.seeds"),
            f"{key} is neither tuned nor an axis. To confirm at seeds of your choice: seed=1,2,3. For fresh ones, how "
            "many: confirm.seeds=3.",
        ),
        (key == "tracker", f"a study has no cells of trackers. To have several at once: tracker=[{several}]"),
        (
            key in ("sweeps", "slurm", "hardware") or key.startswith("hydra"),
            f"a study has one {key}. Write a command for each.",
        ),
        (is_list(key), f"{what} For several at once write a list: '{key}=[{items}]'."),
        (
            key.startswith("slurm.") and is_text(key) and plain and not set(several) & set("\"'[]"),
            f"{what} For text with a comma, quote it twice: '{key}=\"{several}\"'.",
        ),
        (compare, f"{what} To compare several, write a command for each, with a study=<name> for each."),
        (True, f"{what} Give it one: {key}=<value>."),
    )
    return next(reason for applies, reason in rules if applies)


def one_choice(key: str, choice: str, others: Sequence[str] = ()) -> None:
    """Refuse a list for a group that takes one choice, and one that repeats a choice for a group that takes several.

    Args:
        key: the key of an override.
        choice: its value, or one of several values.
        others: all values, if there are several.

    Raises:
        HarnessError: the value is a list, whose YAMLs Hydra would merge into one with the last one's name; or it is one
            of several mappings; or a combination repeats a choice or another combination.
    """
    _check_combination(key, choice, others)
    if others and "." not in key and choice.startswith("{"):
        raise HarnessError(
            f"{key}={choice}: a mapping sets keys, and is no choice of {key}. Name the key that has several values: "
            f"{key}.<key>=a,b"
        )
    if key not in ALTERNATIVES or not choice.startswith("["):
        return
    parts = [part.strip("[] '\"") for each in others or (choice,) for part in each.split(",")]
    listed = ",".join(dict.fromkeys(part for part in parts if part))
    if key in ("task", "model", "method") and "," in listed:
        way = f"For a cell each, in a study (-m), leave the brackets out: {key}={listed} (in a YAML {key}: {listed})."
    else:
        way = f"Name one: {key}={listed.partition(',')[0] or '<name>'}."
    raise HarnessError(f"{key}={choice}: a list merges its configurations into one, and a run has one {key}. {way}")


def _check_combination(key: str, choice: str, others: Sequence[str]) -> None:
    """Refuse a list of a group that may be combined if a choice stands in it twice, or beside `none`."""
    if key not in COMBINED:
        return
    parts = _parts(choice)
    if twice := sorted({part for part in parts if parts.count(part) > 1}):
        listed = list(dict.fromkeys(parts))
        raise HarnessError(
            f"{key}={choice}: {', '.join(twice)} is named twice, and counts once. Write {key}={_listed(listed)}."
        )
    if len(parts) > 1 and "none" in parts:
        listed = [part for part in parts if part != "none"]
        raise HarnessError(
            f"{key}={choice}: none stands for no {key} at all, and not beside others. Write {key}={_listed(listed)} or "
            f"{key}=none."
        )
    same = [other for other in others if {*_parts(other)} == {*parts}]
    if len(same) > 1:
        raise HarnessError(f"{key}={','.join(others)}: {' and '.join(same)} are the same. Name each choice once.")


def _parts(choice: str) -> list[str]:
    return [part for part in (each.strip(" '\"") for each in choice.strip("[] ").split(",")) if part]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"


def check_choices(choices: Mapping[str, str | None]) -> None:
    """Refuse a defaults list that names no task, model or method, or several.

    Args:
        choices: Hydra's runtime choices by group; a group is listed only if exactly one was chosen.

    Raises:
        HarnessError: names the groups.
    """
    if wrong := [group for group in ("task", "model", "method") if not choices.get(group)]:
        raise HarnessError(
            *(
                f"{group}: the defaults list names none or several at once, and a run has one. Name one there "
                f"(override /{group}: <name>), or on the command line ({group}=<name>)."
                for group in wrong
            )
        )


def check_axes(axes: Sequence[str], overrides: Mapping[str, Override], problems: Problems) -> None:
    """Add a problem for each key of `axes` that cannot make cells."""
    for key in axes:
        if key in overrides and overrides[key].is_sweep_override():
            continue  # reported where its values are read
        if reason := refusal(key, "a,b", axis=True):
            problems.add(f"axes=[{key}]: {reason}")
        else:
            problems.check(
                key in overrides,
                f"axes=[{key}]: {key} has no values to make cells of. Name some: {key}=<value>,<value>.",
            )


def check_shared(fixed: Mapping[str, str], axes: Mapping[str, Sequence[str]], problems: Problems) -> None:
    """Add a problem for each override that would give the same name or weights to cells that should differ."""
    for group in ("task", "model", "method"):
        several = axes.get(group, [])
        sources = tuple(f"model.{key}" for key in (*SOURCES, "revision")) if group == "model" else ()
        for key in (f"{group}.name", *sources) if len(several) > 1 else ():
            what = "name" if key.endswith("name") else "files"
            problems.check(
                key not in fixed,
                f"{fixed.get(key)} would give its {what} to each of {', '.join(several)}. Name one {group}"
                f"{' (model=own)' if group == 'model' else ''}, or write a YAML for each {group} of yours "
                "(--config-dir).",
            )


def check_used(axes: Iterable[str], ignored: Sequence[Sequence[str]], problems: Problems) -> None:
    """Add a problem for each axis that no cell's method reads: its cells would be the same under several names.

    Args:
        axes: keys and groups that make cells.
        ignored: of each cell, the sections that its method ignores.
        problems: added to.
    """
    for axis in axes:
        section = {"regularise": "train"}.get(axis, axis.partition(".")[0])
        if axis not in SHARED and ignored and all(section in sections for sections in ignored):
            problems.add(
                f"{axis} makes cells, and no method of this study reads {section}, so they would be the same under "
                f"several names. Leave {axis} out, or add a method that trains."
            )


def check_pins(keys: Collection[str], model: Mapping[str, Any], problems: Problems) -> None:
    """Add a problem if another repository takes the place of one whose files a YAML pins without naming it.

    With `digests_of` the model itself tells; see `harness.models.pretrained`.

    Args:
        keys: the keys that the command line or a sweep sets.
        model: the composed section `model`.
        problems: added to.
    """
    changed = [key for key in ("model.hub", "model.revision") if key in keys]
    pinned = (model.get("digests") or model.get("bundled")) and not (model.get("digests_of") or model.get("path"))
    if changed and pinned:
        key, value = changed[0], model.get(changed[0].partition(".")[2])
        problems.add(
            f"{key}={value}: digests and bundled of model={model.get('name')} belong to the files that its YAML names, "
            "and the YAML does not say which. Add digests_of: <owner/name>@<revision> to it, or take another model: "
            f"model=own model.hub={model.get('hub') or '<owner/name>'} model.name=mine"
        )


def check_names(found: Iterable[tuple[str, str, str]], problems: Problems) -> None:
    """Add a problem for YAMLs with the same name, as their results would be mixed.

    Args:
        found: (group, choice, name in the YAML of that choice) of each cell.
        problems: added to.
    """
    by_name: dict[tuple[str, str], list[str]] = {}
    for group, choice, name in dict.fromkeys(found):
        by_name.setdefault((group, name), []).append(choice)
    for (group, name), choices in by_name.items():
        problems.check(
            len(choices) == 1,
            f"{group}={','.join(choices)}: {' and '.join(f'{group}/{each}.yaml' for each in choices)} both have name: "
            f"{name}. Give each a name of its own, e.g. name: {choices[-1]} in {group}/{choices[-1]}.yaml.",
        )


def for_the_study(key: str, override: Override) -> str | None:
    """Return why a key under `sweep.params` would have no effect, and where to write it; None if it has one."""
    if not of_the_study(key) or override.is_sweep_override():
        return None  # several values of such a key are reported elsewhere
    value = override.get_value_string()
    if key in ("tracker", "slurm", "hardware", "sweeps"):
        where = f"in the YAML's defaults list (override /{key}: {value})"
    else:
        *parents, leaf = key.split(".")
        where = "beside sweep: in the YAML, as " + "".join(f"{parent}: {{" for parent in parents) + f"{leaf}: {value}"
        where += "}" * len(parents)
    return f"{key}: {value}: params are for cells, and {key} belongs to the study as a whole. Write it {where}."
