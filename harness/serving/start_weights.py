"""Changed tensors of a saved model as one file, from which other runs start (`train.init`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models import ResolvedModel
from harness.models.start import HEAD, OTHER, TRUNK, Start
from harness.records.files import atomic
from harness.serving.saved_model import load_network


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
            raise HarnessError(
                f"train.init={start.directory} was adapted by method={start.facts.get('method')}, which PEFT cannot "
                "merge into the weights of the model: name a model that was adapted by a method such as lora, ia3 or "
                "full."
            ) from error
    pretrained: Any = load_backbone(resolved, network.pooling, network.classes)
    head = {name.removeprefix("backbone.") for name, _ in network.head_parameters()}
    before = dict(pretrained.named_parameters())
    trunk = {id(p): name for name, p in backbone.base_model.named_parameters()}
    tensors: dict[str, Any] = {}
    for name, parameter in backbone.named_parameters():
        if name in head or (name in before and parameter.detach().equal(before[name])):
            continue
        inner = trunk.get(id(parameter))
        tensors[OTHER + name if inner is None else TRUNK + inner] = parameter.detach().contiguous()
    tensors |= {HEAD + name: p.detach().contiguous() for name, p in network.head_parameters()}
    with atomic(file) as temporary:
        save_file(tensors, temporary, metadata={"facts": json.dumps(start.facts)})
