"""`train.init`: an earlier winner from which training starts in place of the pretrained weights.

This module finds the saved model and identifies it by its content. It does not import torch.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.api.family import direction_of
from harness.api.metric import Direction
from harness.errors import HarnessError
from harness.models.files.digests import generation_digest, sha256
from harness.models.pretrained import ResolvedModel
from harness.records.files import read_json
from harness.records.locate import find_model, is_study, lacking
from harness.records.record import CorruptRecord, Record
from harness.records.signature import digest
from harness.records.study_files import DESCRIPTION, MODEL, RUNS, RunPaths

# PEFT's types that add nothing to the weights of layers: virtual tokens cannot be merged.
UNMERGED = (
    "ADAPTION_PROMPT", "CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """A saved model.

    Attributes:
        directory: of it.
        facts: its description, harness.json.
        digest: of the content of its description's facts and of its weights.
    """

    directory: Path
    facts: dict[str, Any]
    digest: str

    def on(self, resolved: ResolvedModel, file: Path | None = None) -> ResolvedModel:
        """Return the pretrained model with this start; its digest is of both.

        Args:
            resolved: the pretrained model.
            file: of the changed tensors; None where weights are not loaded.
        """
        combined = digest([resolved.digest, "start", self.digest])
        return replace(resolved, digest=combined, base=resolved.digest, start=file)


def find_start(init: str, runs_dir: Path, resolved: ResolvedModel, model: str, cache_dir: Path) -> Start:
    """Find and check the saved model that `train.init` names.

    Args:
        init: the directory of a saved model or of its run, or a study (a name or a path), of which the saved model on
            the same pretrained model with the best validation score is taken.
        runs_dir: the directory of studies.
        resolved: the pretrained model of the cell.
        model: its name, for messages.
        cache_dir: where digests of large files are cached.

    Raises:
        HarnessError: there is none, it is of another model, it lacks files, or it cannot be merged.
    """
    if resolved.quantize:
        raise HarnessError(
            f"train.init={init} merges into the weights of model={model}, and model.quantize={resolved.quantize} "
            "stores them in fewer bits: leave one out."
        )
    directory = _directory(init, runs_dir, resolved)
    facts = _facts(directory, init)
    if facts.get("digest") not in _digests(resolved):
        raise HarnessError(
            f"train.init={init} adapts model={(facts.get('model') or {}).get('name')}, and this cell has "
            f"model={model}, whose weights are others: name the same model, or leave train.init out."
        )
    if lacks := lacking(directory, facts.get("weights", ())):
        raise HarnessError(f"train.init={init} is incomplete: it lacks {', '.join(lacks)}. Copy it again.")
    adapter = read_json(directory / "adapter" / "adapter_config.json") or {}
    if adapter.get("peft_type") in UNMERGED or facts.get("inserted"):
        raise HarnessError(
            f"train.init={init} was adapted by method={facts.get('method')}, whose parameters cannot be merged into "
            "the weights of the model: name a model that was adapted by a method such as lora, ia3 or full."
        )
    remembered = cache_dir / "digests"
    # An adapter's configuration says by how much its product is multiplied.
    read = [*directory.rglob("*.safetensors"), *directory.glob("adapter/adapter_config.json")]
    files = {str(file.relative_to(directory)): sha256(file, remembered) for file in sorted(read)}
    content = {key: value for key, value in facts.items() if key in ("digest", "family", "labels", "neighbours")}
    content["pooling"] = (facts.get("model") or {}).get("pooling")
    return Start(directory, facts, digest([content, files]))


def _directory(init: str, runs_dir: Path, resolved: ResolvedModel) -> Path:
    """Return the directory of a saved model; of a study, of its best on this pretrained model."""
    for place in (runs_dir / init, Path(init).expanduser()):
        if not is_study(place):
            continue
        found = sorted(path.parent for path in (place / RUNS).glob(f"*/*/{MODEL}/{DESCRIPTION}"))
        alike = [each for each in found if (read_json(each / DESCRIPTION) or {}).get("digest") in _digests(resolved)]
        if not alike:
            kept = "saved no model (keep=best saves them)" if not found else "saved no model of this pretrained model"
            raise HarnessError(f"train.init={init} is a study that {kept}: name another study, or a saved model.")
        tasks = sorted({str((read_json(each / DESCRIPTION) or {}).get("task")) for each in alike})
        if len(tasks) > 1:
            raise HarnessError(
                f"train.init={init} is a study of several tasks ({', '.join(tasks)}): name one of its saved models, "
                f"such as train.init={alike[0]}."
            )
        return max(alike, key=_score).resolve()
    return find_model(init, runs_dir).expanduser().resolve()


def best_saved(named: str, key: str) -> Path:
    """Return the directory of a saved model; of a study, of the one with the best validation score.

    Args:
        named: path of a study, a run or a saved model.
        key: what named it, for messages.

    Raises:
        HarnessError: there is none, or the study is of several tasks.
    """
    place = Path(named).expanduser()
    found = sorted(path.parent for path in (place / RUNS).glob(f"*/*/{MODEL}/{DESCRIPTION}")) if is_study(place) else []
    if is_study(place) and not found:
        raise HarnessError(f"{key} is a study that saved no model (keep=best saves them): name another one.")
    if len({str(read_json(each / DESCRIPTION).get("task")) for each in found}) > 1:
        raise HarnessError(f"{key} is a study of several tasks: name one of its saved models, such as {found[0]}.")
    directory = max(found, key=_score) if found else find_model(named, Path())
    if not read_json(directory / DESCRIPTION):
        raise HarnessError(
            f"{key} is no saved model and no study: name the folder `model` of a run "
            "(runs/<study>/runs/<cell>/<run>/model), or a study (runs/<study>)."
        )
    return directory.resolve()


def _digests(resolved: ResolvedModel) -> set[str]:
    """Return what saved models name a pretrained model by; those that write name what generation reads besides."""
    backbone = resolved.backbone or resolved.digest
    return {resolved.digest, backbone, generation_digest(backbone, resolved.path)}


def _score(directory: Path) -> float:
    """Return the validation score of the run of a saved model, larger is better; the lowest if it has none."""
    paths = RunPaths(directory.parent)
    with suppress(CorruptRecord, KeyError, TypeError):
        record, metric = Record.read(paths.record), str(paths.read_config()["task"]["metric"])
        value = None if record is None else record.metrics["val"][metric]
        if value is not None:
            return value if direction_of(metric) == Direction.MAXIMIZE else -value
    return -float("inf")


def _facts(directory: Path, init: str) -> dict[str, Any]:
    found = read_json(directory / DESCRIPTION) if directory.is_dir() else None
    if not found:
        raise HarnessError(
            f"train.init={init} is no saved model and no study: name the folder `model` of a run "
            "(runs/<study>/runs/<cell>/<run>/model), or a study."
        )
    return found
