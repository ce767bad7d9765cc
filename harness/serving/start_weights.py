"""Changed tensors of a saved model as one file, from which other runs start (`train.init`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models import ResolvedModel
from harness.models.start.find import Start
from harness.models.start.tensors import HEAD, OTHER, TRUNK
from harness.records.files import atomic
from harness.serving.saved_model import load_network

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.network import AdaptedModel
    from harness.tasks.runtime import TaskRuntime


def started(start: Start, resolved: ResolvedModel, cache_dir: Path) -> ResolvedModel:
    """Return a pretrained model with a start; the file of its tensors is made once a machine.

    Args:
        start: the saved model.
        resolved: the pretrained model that it adapts.
        cache_dir: keeps the file.

    Raises:
        HarnessError: the adapter cannot be merged.
    """
    file = cache_dir / "starts" / f"{start.on(resolved).digest[:32]}.safetensors"
    if not file.is_file():
        _write(file, start, resolved, cache_dir)
    return start.on(resolved, file)


def _write(file: Path, start: Start, resolved: ResolvedModel, cache_dir: Path) -> None:
    """Merge a saved model, and write the tensors in which it differs from the pretrained model, and its head."""
    from safetensors.torch import save_file

    from harness.models.network import load_backbone

    network = load_network(start.directory, start.facts, cache_dir, resolved)
    backbone: Any = network.backbone
    if hasattr(backbone, "peft_config"):
        try:
            network.backbone = backbone = backbone.merge_and_unload()
        except (AttributeError, NotImplementedError, ValueError) as error:
            raise _unmerged(start) from error
    pretrained: Any = load_backbone(resolved, network.pooling, network.classes)
    head = {name.removeprefix("backbone.") for name, _ in network.head_parameters()}
    before = dict(pretrained.named_parameters())
    trunk = {id(p): name for name, p in backbone.base_model.named_parameters()}
    tensors: dict[str, Any] = {}
    for name, parameter in backbone.named_parameters():
        if name not in before and name not in head:
            raise _unmerged(start)
        if name in head or parameter.detach().equal(before[name]):
            continue
        inner = trunk.get(id(parameter))
        tensors[OTHER + name if inner is None else TRUNK + inner] = parameter.detach().contiguous()
    tensors |= {HEAD + name: p.detach().contiguous() for name, p in network.head_parameters()}
    with atomic(file) as temporary:
        save_file(tensors, temporary, metadata={"facts": json.dumps(start.facts)})


def _unmerged(start: Start) -> HarnessError:
    return HarnessError(
        f"train.init={start.directory} was adapted by method={start.facts.get('method')}, which PEFT cannot merge into "
        "the weights of the model: name a model that was adapted by a method such as lora, ia3 or full."
    )


def head_of(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of the head by their names in the network, and the description of the saved model."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        facts = json.loads((opened.metadata() or {}).get("facts", "{}"))
        names = [name for name in opened.keys() if name.startswith(HEAD)]  # noqa: SIM118 -- not a dict
        return {name.removeprefix(HEAD): opened.get_tensor(name) for name in names}, facts


def put_head(network: AdaptedModel, file: Path, task: TaskRuntime, pooling: str) -> bool:
    """Give a network the head of the saved model, if it has the same outputs; return whether it does.

    Args:
        network: with a new head.
        file: of the changed tensors.
        task: of the run.
        pooling: of the model.
    """
    tensors, saved = head_of(file)
    own = dict(network.head_parameters())
    alike = {name: tensor.shape for name, tensor in tensors.items()} == {name: p.shape for name, p in own.items()}
    facts = json.loads(json.dumps(task.facts() | {"family": task.family}))
    same = all(saved.get(key) == value for key, value in facts.items())
    if not own or not alike or not same or (saved.get("model") or {}).get("pooling") != pooling:
        return False
    network.put(tensors)
    return True
