"""Storage of adapted models: written by runs, loaded by `harness.predict`.

    model/
      harness.json         the task's family and what that needs, such as labels; pooling, maximum input length, the
                         backbone and its digest, the method, and the list of weight files; for methods that insert
                         layers or store training examples, also their number and position
    head.safetensors     the classification head
      confidence.safetensors   of classifiers: see `harness.serving.confidence.stored`
      adapter/             in PEFT's format, for adapter methods
      backbone.safetensors the changed tensors, for methods that change the backbone itself
      passages.safetensors of retrieval: the vectors of the collection, in the order of `passages` in harness.json
      start.safetensors    the tensors that an earlier training had changed (`train.init`), to be applied first
      tokenizer files
The pretrained backbone itself is not stored: it is located by name or path, and its digest must match.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.api.family import FIRST, families, family_of
from harness.errors import HarnessError
from harness.methods.base import Hooks
from harness.models import PretrainedModel, ResolvedModel
from harness.models.files.model_files import names
from harness.models.recommenders.interaction_model import InteractionModel
from harness.records.files import write_json
from harness.records.locate import lacking
from harness.records.study_files import DESCRIPTION

if TYPE_CHECKING:
    from harness.models.network import AdaptedModel
    from harness.models.retrieval.retrieval_network import RetrievalNetwork
    from harness.serving.confidence.stored import Confidence
    from harness.tasks.runtime import TaskRuntime

FORMAT = 1  # of harness.json; increased when the meaning of a key changes
WITH_START = 2  # of models with changed tensors besides the method's, which versions that read format 1 do not apply
START = "start.safetensors"
PASSAGES = "passages.safetensors"


def save_model(
    directory: Path,
    network: AdaptedModel,
    hooks: Hooks,
    tokenizer: Any,
    facts: dict[str, Any],
    start: Path | None = None,
    confidence: Confidence | None = None,
) -> int:
    """Write an adapted model atomically.

    Args:
        directory: `model/` of a run; replaced if it exists.
        network: the trained network.
        hooks: the method's hooks, which define its own format.
        tokenizer: the backbone's tokenizer.
        facts: the other keys of harness.json, see `describe`.
        start: see `ResolvedModel`.
        confidence: what a classifier knows of its reliability; None writes nothing of it.

    Returns:
        Size in bytes of what the method added: head, adapter, changed tensors; without the tokenizer.
    """
    from safetensors.torch import save_file

    from harness.models.heads import KnnHead
    from harness.models.recommenders.history_network import HistoryNetwork
    from harness.models.retrieval.retrieval_network import RetrievalNetwork

    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        head = {name: p.detach().cpu().contiguous() for name, p in network.head_parameters()}
        save_file(head, temporary / "head.safetensors")
        changed = {name: p.detach().cpu().contiguous() for name, p in network.trainable().items() if name not in head}
        if changed and not hooks.save(network, temporary / "adapter"):
            save_file(changed, temporary / "backbone.safetensors")
        if isinstance(network, RetrievalNetwork) and (vectors := network.index_tensors()):
            save_file(vectors, temporary / PASSAGES)
        if start is not None:
            _copy_start(start, temporary / START)
        size = sum(file.stat().st_size for file in temporary.rglob("*.safetensors"))
        tokenizer.save_pretrained(str(temporary))
        built: dict[str, Any] = {"inserted": hooks.inserted()} if hooks.inserted() else {}
        if confidence is not None:
            confidence.write(temporary)
            built |= confidence.facts()
        if isinstance(voters := network.head, KnnHead):
            built["neighbours"] = {"rows": len(voters.bank), "k": voters.k, "temperature": voters.temperature}
        if isinstance(network, HistoryNetwork) and network.head is not None:
            built["scorer"] = network.head.settings
        if isinstance(network, RetrievalNetwork):
            built["index"] = network.head.settings
        built["weights"] = sorted(str(file.relative_to(temporary)) for file in temporary.rglob("*.safetensors"))
        write_json(
            temporary / DESCRIPTION,
            facts | built | {"format": WITH_START if start else FORMAT, "harness": harness.__version__},
        )
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return size


def _copy_start(start: Path, file: Path) -> None:
    """Write the tensors of the backbone from which training started; the head is the run's own."""
    from safetensors.torch import load_file, save_file

    from harness.models.start.tensors import HEAD

    save_file({name: tensor for name, tensor in load_file(start).items() if not name.startswith(HEAD)}, file)


def describe(
    model: PretrainedModel,
    resolved: ResolvedModel,
    runtime: TaskRuntime,
    max_length: int,
    pairs: bool,
    task: str,
    method: str,
) -> dict[str, Any]:
    """Return the keys of harness.json that describe task, method and backbone."""
    return {
        "task": task,
        "method": method,
        "family": runtime.family,
        **runtime.facts(),
        "pairs": pairs,
        "max_length": max_length,
        "model": asdict(model),
        "digest": resolved.base or resolved.digest,
        "source": resolved.source,
    }


def read_description(directory: Path) -> dict[str, Any]:
    """Read harness.json.

    Raises:
        HarnessError: the directory is not a saved model.
    """
    if not directory.is_dir():
        raise HarnessError(f"{directory} is not a directory. A saved model is the folder `model` of a run's directory.")
    file = directory / DESCRIPTION
    if not file.is_file():
        inner = directory / "model"
        hint = f" Did you mean {inner}?" if (inner / DESCRIPTION).is_file() else ""
        raise HarnessError(f"{directory} is not a saved model: it has no {DESCRIPTION}.{hint}")
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        written = facts["format"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise HarnessError(f"{file} cannot be read ({error}): the model has to be saved again.") from error
    if written not in (FORMAT, WITH_START):
        raise HarnessError(f"{file} has format {written}; this version of harness reads {FORMAT} and {WITH_START}.")
    family = facts.get("family") or FIRST
    if family not in families():
        raise HarnessError(
            f"{file} is of the family {family}, which this version does not have. Known: {', '.join(families())}. Use "
            f"the version that saved it ({facts.get('harness', 'unknown')})."
        )
    if wrong := [key for key, good in _NEEDED.items() if not good(facts.get(key))]:
        raise HarnessError(
            f"{file} has no usable {', '.join(wrong)}: it is cut short, or was changed. Copy the model again, or save "
            "it again."
        )
    return facts


_NEEDED: Mapping[str, Callable[[Any], bool]] = {  # keys of harness.json that models of every family have
    "pairs": lambda value: isinstance(value, bool),
    "max_length": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "model": lambda value: isinstance(value, dict) and isinstance(value.get("name"), str),
    "digest": lambda value: isinstance(value, str) and bool(value),
}


def example_call(directory: Path) -> str:
    """Return how a saved model is called from Python, as an example for the user."""
    facts = read_description(directory)
    return family_of(facts.get("family")).example_call(facts)


def backbone_of(facts: Mapping[str, Any]) -> PretrainedModel:
    """Return the pretrained model that a saved model adapts, by the facts of harness.json."""
    known = {field.name for field in fields(PretrainedModel)}
    family = family_of(facts.get("family"))
    stored = {key: value for key, value in facts["model"].items() if key in known}
    if family.writes or family.tokens or family.locates:
        del stored["pooling"]  # set by the family
    if family.reads == "interaction":
        del stored["pooling"]
        return InteractionModel(**stored).for_family(family)
    return PretrainedModel(**stored).for_family(family)


def load_network(
    directory: Path, facts: dict[str, Any], cache_dir: str | Path, resolved: ResolvedModel | None = None
) -> AdaptedModel:
    """Load a saved network, in eval mode, on the CPU.

    Args:
        directory: the saved model.
        facts: from `read_description`.
        cache_dir: cache directory for digests.
        resolved: the backbone; None finds it as the facts say.

    Raises:
        HarnessError: the backbone is not found or is not the one that was adapted, or files are missing.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from harness.models.heads import KnnHead
    from harness.models.loading import brief
    from harness.models.network import load_backbone
    from harness.models.pooling import width
    from harness.models.recommenders.scorers import scorer_of
    from harness.models.retrieval.retrieval_network import RetrievalNetwork
    from harness.tasks.runtime import saved_runtime

    model = backbone_of(facts)
    resolved = resolved or model.resolve(cache_dir)
    if resolved.digest != facts["digest"]:
        raise HarnessError(
            f"{directory} adapts another backbone than the one found for model={model.name} ({resolved.source}): "
            f"its digest is {resolved.digest[:12]}, not {facts['digest'][:12]}. Get the one that was used: "
            f"{facts['source']}."
        )
    if lacks := lacking(directory, facts.get("weights", ())):
        raise HarnessError(f"{directory} is incomplete: it lacks {', '.join(lacks)}. Copy it again.")
    runtime = saved_runtime(facts)
    outputs = runtime.outputs
    if (directory / START).is_file():
        resolved = replace(resolved, start=directory / START)
    network = runtime.network(load_backbone(resolved, model.pooling, outputs), model.pooling)
    if inserted := facts.get("inserted"):
        from harness.methods.bottleneck_adapters import insert

        insert(network.backbone, **inserted)
    if voters := facts.get("neighbours"):
        network.head = KnnHead(size=width(network.backbone), classes=outputs, **voters)
    if scorer := facts.get("scorer"):
        network.head = scorer_of(scorer)
    if isinstance(network, RetrievalNetwork):
        _put_index(network, facts, directory)
    # A run keeps the adapter in a folder of its own; an export has it at the top, where PEFT and vLLM look.
    places = (directory / "adapter", directory)
    adapter = next((each for each in places if (each / "adapter_config.json").is_file()), None)
    if adapter is not None:
        _put_adapter(network, adapter)
    tensors: dict[str, Any] = {}
    try:
        for name in ("head.safetensors", "backbone.safetensors", PASSAGES):
            if (directory / name).is_file():
                tensors |= load_file(directory / name)
        unknown = network.load_state_dict(tensors, strict=False).unexpected_keys
    except (SafetensorError, OSError, RuntimeError) as error:
        raise HarnessError(
            f"The weights in {directory} cannot be loaded ({brief(error)}): save the model again."
        ) from error
    missing = {name for name, _ in network.head_parameters()} - set(tensors)
    if unknown or missing:
        raise HarnessError(
            f"The weights in {directory} do not fit: missing {sorted(missing)}, unknown {sorted(unknown)}. "
            "Save the model again."
        )
    _check_finite(tensors, directory)
    return network.eval()


def _put_index(network: RetrievalNetwork, facts: Mapping[str, Any], directory: Path) -> None:
    """Give a network the index of its collection, without the vectors.

    Raises:
        HarnessError: the description of the index is damaged.
    """
    from harness.models.retrieval.indexes import VectorIndex, index_of

    try:
        index = index_of(facts["index"], facts["passages"])
        holds = not isinstance(index, VectorIndex) or len(index.vectors) == len(facts["passages"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        holds = False
    if not holds:
        raise HarnessError(
            f"{directory / DESCRIPTION} does not describe an index of its passages: it is cut short, or was changed. "
            "Copy the model again, or save it again."
        )
    network.put_index(index)


def _check_finite(tensors: Mapping[str, Any], directory: Path) -> None:
    """Raise if a stored tensor holds infinities or NaN, from which every prediction would be the same."""
    if broken := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        raise HarnessError(
            f"The weights in {directory} hold values that are no finite numbers ({names(broken)}): the file is "
            "damaged, or its training diverged. Copy or save the model again."
        )


def _put_adapter(network: AdaptedModel, directory: Path) -> None:
    """Wrap the backbone by the adapter in a directory.

    Raises:
        HarnessError: it cannot be loaded, or lacks weights.
    """
    from harness.models.loading import FAILURES, brief
    from harness.models.precision.quantization import import_peft

    import_peft()
    from peft import PeftModel, get_peft_model_state_dict

    # Some warnings are false: e.g. PEFT takes AdaLoRA's rank pattern, which it applies, for an ignored one of LoRA.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            network.backbone = PeftModel.from_pretrained(network.backbone, str(directory))
        except FAILURES as error:
            raise HarnessError(
                f"The adapter in {directory} cannot be loaded ({brief(error)}): save the model again."
            ) from error
    if any("missing adapter keys" in str(each.message) for each in said):
        raise HarnessError(f"The adapter in {directory} lacks weights, which would be new: save the model again.")
    _check_finite(get_peft_model_state_dict(network.backbone), directory)
