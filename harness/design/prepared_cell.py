"""Checks before compute is spent: values, data, models, devices, directories, samplers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.api.family import FIRST, TaskFamily, families
from harness.config.error_messages import explain
from harness.config.instantiate import build
from harness.config.kinds import check_kinds
from harness.config.schema import REPLICATE_SEEDS, Config
from harness.config.validation import check
from harness.data.dataset import Dataset
from harness.design.cells import Cell
from harness.design.device_checks import check_cell, check_methods, notes
from harness.design.family_checks import check_family, check_modality
from harness.design.model_checks import check_blocks, check_history, check_layers, check_packing
from harness.design.search_space import check_sampler
from harness.design.value_checks import Checks
from harness.errors import HarnessError, Problems
from harness.models import ResolvedModel
from harness.models.architecture_check import examined
from harness.models.start.find import Start, find_start
from harness.records.run_spec import RunSpec
from harness.records.signature import digest, models_digest, signature
from harness.records.states import Phase
from harness.report.cells.settings import Settings

UNCOMPOSED = "uncomposed"  # config key of a trial whose configuration cannot be composed: its values, and why


@dataclass(frozen=True)
class PreparedCell:
    """A cell whose data and model were found and checked.

    Attributes:
        cell: the cell.
        base: its resolved configuration at the documented defaults.
        fingerprint: hash of the data.
        model_digest: hash of the pretrained weights.
        facts: counts of the data.
        warnings: for the user, about the data and the model's files.
        architecture: see `ResolvedModel`.
        replicate: label of the replicate (`confirm.vary`) to which its runs belong.
        init: directory of the saved model from which its runs start (`train.init`); None: the pretrained model.
        numerics: what `auto` means in this study, by key (see `harness.design.numerics`).
    """

    cell: Cell
    base: dict[str, Any]
    fingerprint: str
    model_digest: str
    facts: dict[str, Any]
    warnings: tuple[str, ...]
    architecture: str | None = None
    replicate: int = 0
    init: str | None = None
    numerics: Mapping[str, str] = field(default_factory=dict)

    def settled(self, numerics: Mapping[str, str]) -> PreparedCell:
        """Return the cell with these values in place of `auto`."""
        return replace(self, base=_settled(self.base, numerics), numerics=numerics)

    def _config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved configuration with tuned values; if it cannot be composed, `UNCOMPOSED` says why."""
        base = {**self.base, "train": dict(self.base["train"])}
        if not values:
            return base
        try:
            return _settled(self.cell.resolve(values), self.numerics)
        except OmegaConfBaseException as error:
            return base | {UNCOMPOSED: {"values": dict(values), "why": " ".join(explain(error, self.cell.config))}}

    def trial_directory(self, directory: Path, trial: int) -> Path:
        """Return the directory of the run of a trial, in the study's directory of runs."""
        tuning = f"replicate{self.replicate}-" if self.replicate else ""
        return directory / self.cell.id / f"{tuning}trial{trial:04d}"

    def spec(
        self,
        directory: Path,
        study: str,
        phase: Phase,
        seed: int,
        values: dict[str, Any],
        trial: int | None = None,
        stop_epoch: int | None = None,
        save_model: bool = False,
        **more: Any,
    ) -> RunSpec:
        """Describe one run of the cell.

        Args:
            directory: the study's directory of runs; the run's own directory is named after its trial or signature.
            study, phase, trial, save_model: see `RunSpec`.
            seed: in the first replicate; the others have seeds of their own, so that replicates are independent.
            values: the tuned values.
            stop_epoch: see `TrainConfig.stop_epoch`; None keeps the configured value.
            more: further fields of `RunSpec`.
        """
        config = self._config(values)
        seed += REPLICATE_SEEDS * self.replicate
        config["seed"] = seed
        if self.init is not None:
            config["train"]["init"] = self.init  # of a study, the model that was best when it was planned
        if stop_epoch is not None:
            config["train"]["stop_epoch"] = stop_epoch
        sign = signature(config, phase, self.fingerprint, self.model_digest)
        tried = self.trial_directory(directory, trial or 0)
        name = {
            Phase.TUNE: tried.name,
            Phase.RERANK: f"{tried.name}-seed{seed}",
            Phase.CONFIRM: f"confirm-{sign[:8]}-seed{seed}",
        }.get(phase, sign)
        return RunSpec(
            directory=str(tried.with_name(name)), config=config, signature=sign, study=study,
            cell=self.cell.id, phase=phase, variant=self.cell.variant, trial=trial, hyperparameters=values,
            save_model=save_model, replicate=self.replicate, **more,
        )  # fmt: skip


def _settled(config: Mapping[str, Any], numerics: Mapping[str, str]) -> dict[str, Any]:
    found = dict(config)
    for key, value in numerics.items():
        section, _, name = key.partition(".")
        if isinstance(found.get(section), Mapping) and found[section].get(name) == "auto":
            found[section] = {**found[section], name: value}
    return found


def prepare_cells(cells: Iterable[Cell], config: DictConfig) -> list[PreparedCell]:
    """Check every cell; load each data set and find each model once.

    Raises:
        HarnessError: all errors at once.
    """
    cells = list(cells)
    problems = Problems()
    check_common(config, problems)
    for name in ("runs_dir", "reports_dir", "cache_dir"):
        problems.check(str(config[name]).strip() != "", f"{name}= names no directory. Leave it out for its default.")
    if not check_writable("cache_dir", cache_dir(config), problems):
        problems.raise_any()  # finding a model writes to the cache
    try:
        settings = cast(dict[str, Any], OmegaConf.to_container(config.report, resolve=True))
        Settings(**settings).check({cell.metric for cell in cells})
    except HarnessError as error:
        problems.extend(error)
    loaded: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    augmentations: dict[str, Any] = {}
    ready = []
    checks = Checks()
    for cell in cells:
        try:
            base = cell.resolve({})
        except OmegaConfBaseException as error:
            for message in explain(error, cell.config):
                problems.add(message)
            continue
        checks.fixed(cell, base, problems)
        checks.tuned(cell, base, problems)
        _check_devices(base["device"], problems)
        if not check_kinds(base, problems):
            continue
        packages = base["packages"]
        cache = cache_dir(base)
        data, model = _data_and_model(cell, base, cache, loaded, resolved, problems)
        check_family(cell, base, data, problems)
        check_cell(cell, base, None if data is None else families()[data.family], problems)
        ignores = (base["method"].get("ignores") or ()) if base.get("method") else ()
        parts = {} if "augment" in ignores or checks.of_section("augment", base) else base.get("augment") or {}
        others = [
            _once(augmentations, part, problems, lambda node, p=packages, c=cache: build(node, p).ready(c))
            for part in parts.values()
        ]
        try:
            check_sampler(cast(Any, cell.config.tune), cell.id, cell.space)
        except HarnessError as error:
            problems.extend(error)
        if data is not None and model is not None:
            start = _start(base, model, cache, problems)
            init = None if start is None else str(start.directory)
            model = model if start is None else start.on(model)
            digest_ = models_digest(model.digest, [each for found in others for each in found or ()])
            warnings = (*data.warnings, *model.notes, *notes(cell, base))
            ready.append(
                PreparedCell(cell, base, data.fingerprint, digest_, data.facts, warnings, model.architecture, init=init)
            )
    for name in ("runs_dir", "reports_dir"):
        check_writable(name, Path(str(config[name])), problems)
    check_methods(cells, problems)
    problems.raise_any()
    return _told_apart(ready)


def _told_apart(ready: Sequence[PreparedCell]) -> list[PreparedCell]:
    """Tell of cells whose runs are the same, such as those of two encodings that read the same rows of a file."""
    first: dict[str, PreparedCell] = {}
    told = []
    for each in ready:
        space = {key: entry.sweep for key, entry in each.cell.space.items()}
        runs = signature({**each.base, "seed": 0}, Phase.CONFIRM, each.fingerprint, each.model_digest)
        other = first.setdefault(digest([runs, space, each.init]), each)
        if other is not each:
            note = (
                f"{each.cell.id} computes the same as {other.cell.id}, from the same rows: they are one result under "
                "two names."
            )
            each = replace(each, warnings=(*each.warnings, note))  # noqa: PLW2901 - with its note
        told.append(each)
    return told


def _data_and_model(
    cell: Cell,
    base: Mapping[str, Any],
    cache: Path,
    loaded: dict[str, Any],
    resolved: dict[str, Any],
    problems: Problems,
) -> tuple[Dataset | None, ResolvedModel | None]:
    """Load a cell's data and find its model, unless an earlier cell did; None for what has a problem."""
    packages = base["packages"]
    data = _once(loaded, base["task"], problems, lambda node: build(node, packages).load())
    family = families()[FIRST if data is None else data.family]
    model = _once(
        resolved,
        {"model": base["model"], "family": [family.writes, family.tokens, family.reads, family.locates]},
        problems,
        lambda node: _find(build(node["model"], packages).for_family(family), cache, family),
    )
    if data is not None and model is not None:
        before = len(problems.messages)
        check_modality(cell, base, data, model, problems)
        if len(problems.messages) == before:
            data.check_model(base["model"]["name"], model.path, problems)
    if model is not None:
        _check_method(cell, base, model, problems)
    return data, model


def check_common(config: DictConfig, problems: Problems) -> None:
    """Add a problem for every invalid value of the common schema."""
    check(cast(Config, config), problems)  # a DictConfig typed by the schema reads like one


def cache_dir(config: Any) -> Path:
    """Return the directory that caches tokenized data, features and digests."""
    directory = Path(str(config["cache_dir"]))
    try:
        return directory.expanduser()
    except RuntimeError:
        raise HarnessError(
            f"cache_dir={directory}: there is no such user. Write the whole path, or ~/... for yours."
        ) from None


def check_writable(name: str, directory: Path, problems: Problems) -> bool:
    """Add a problem if a directory cannot be made or written to. Return whether it can. Nothing is made."""
    existing = next(each for each in (directory, *directory.parents) if os.path.lexists(each))
    try:
        if existing == directory:
            with tempfile.TemporaryFile(dir=directory):
                return True
        with tempfile.TemporaryDirectory(dir=existing, prefix=".") as attempt:
            (Path(attempt) / directory.relative_to(existing)).mkdir(parents=True)
            return True
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        problems.add(f"{name}={directory} cannot be written to ({reason}). Choose another: {name}=<directory>")
        return False


def _once(memo: dict[str, Any], node: Any, problems: Problems, make: Any) -> Any:
    """Make the object of a configuration node once for all cells that share the node; None if that failed."""
    key = digest(node)
    if key not in memo:
        memo[key] = None
        try:
            memo[key] = make(node)
        except HarnessError as error:
            problems.extend(error)
    return memo[key]


def _check_method(cell: Cell, base: Mapping[str, Any], model: ResolvedModel, problems: Problems) -> None:
    """Add a problem if the method cannot train this model."""
    if model.quantize:
        try:
            build(base["model"], base["packages"]).check_method(base["method"])
        except HarnessError as error:
            problems.extend(error)
    check_blocks(cell, base, model, problems)
    check_history(cell, base, problems)
    check_layers(cell, base, model, problems)
    check_packing(cell, base, model, problems)


def _start(base: Mapping[str, Any], model: ResolvedModel, cache: Path, problems: Problems) -> Start | None:
    """Find what `train.init` names; None if it names nothing, or has a problem."""
    init = base["train"]["init"]
    if init is None:
        return None
    try:
        return find_start(init, Path(base["runs_dir"]), model, base["model"]["name"], cache)
    except HarnessError as error:
        problems.extend(error)
        return None


def _find(model: Any, cache: Path, family: TaskFamily) -> ResolvedModel:
    """Find a model's files and examine them, unless it reads something else than the family's rows."""
    found: ResolvedModel = model.resolve(cache)
    return found if found.reads != family.reads else examined(model, found, cache)


def _check_devices(device: str, problems: Problems) -> None:
    if device in ("cuda", "mps"):
        from harness.system.machine import check_device

        try:
            check_device(device)
        except HarnessError as error:
            problems.extend(error)
