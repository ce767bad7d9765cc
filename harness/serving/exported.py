"""Networks of exported models that hold their backbone: merged ones, those of sentence-transformers, and ONNX files.

export/
harness.json         as in a saved model, with `export`: the format
model.onnx           ONNX: input_ids, attention_mask and perhaps token_type_ids (n, length) to outputs (n, m), of tags
                     (n, length, m); or pixel_values (n, 3, height, width)
model.safetensors    merged: `backbone.*` and `head.*` of a module of `CODE`, or an architecture of transformers
head.safetensors     sentence-transformers: the head on 20 x the embedding
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.models.image_files.image_architectures import PROCESSOR
from harness.models.language.token_network import TokenBatch
from harness.models.pooling import POOLED_WIDTH
from harness.records.locate import lacking

CODE = ("modeling_pooled.py", "modeling_tags.py", "modeling_images.py")  # of heads that transformers does not have
WHOLE = ("merged", "onnx", "sentence-transformers")  # formats that need no other files than their own


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime computes, on the CPU.

    Args:
        file: the ONNX file.
        threads: CPU threads; None: those that this process may use.

    Raises:
        HarnessError: onnxruntime is missing, or the file is damaged.
    """

    def __init__(self, file: Path, threads: int | None = None) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise HarnessError("An ONNX model needs onnxruntime: pip install 'harness[export]'.") from None
        from harness.system.resources import usable_cores, usable_threads

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_threads(usable_cores())
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise HarnessError(f"{file} cannot be loaded by ONNX Runtime: export the model again.") from error
        self.names = [each.name for each in self.session.get_inputs()]
        self.backbone = SimpleNamespace(config=SimpleNamespace())

    def forward(self, batch: Batch) -> Tensor:
        """Return the outputs (n, m) of a batch."""
        inputs = {name: batch[name].numpy() for name in self.names if name in batch}
        if "token_type_ids" in self.names and "token_type_ids" not in inputs:
            inputs["token_type_ids"] = torch.zeros_like(batch["input_ids"]).numpy()
        outputs = torch.from_numpy(self.session.run(None, inputs)[0])
        # Of a model that tags tokens, only those of words count.
        return outputs[batch.predicted.bool()] if isinstance(batch, TokenBatch) else outputs


def load_whole(directory: Path, facts: Mapping[str, Any]) -> Any:
    """Load the network of an export that holds its backbone, in eval mode, on the CPU.

    Args:
        directory: the export.
        facts: its harness.json.

    Raises:
        HarnessError: files are missing or damaged.
    """
    if lacks := lacking(directory, facts.get("weights", ())):
        raise HarnessError(f"{directory} is incomplete: it lacks {', '.join(lacks)}. Copy it again.")
    if facts["export"] == "onnx":
        return OnnxNetwork(directory / next(name for name in facts["weights"] if name.endswith(".onnx")))
    if facts["export"] == "merged" and any((directory / name).is_file() for name in CODE):
        return _with_code(directory, facts)
    from harness.models import ResolvedModel
    from harness.models.network import load_backbone
    from harness.tasks.runtime import saved_runtime

    runtime, pooling = saved_runtime(facts), _pooling(facts)
    transcribes = bool(facts.get("writes")) and (directory / PROCESSOR).is_file()
    resolved = ResolvedModel(directory, facts["digest"], "export", transcribes=transcribes)
    network: Any = runtime.network(load_backbone(resolved, pooling, runtime.outputs), pooling)
    if (directory / "head.safetensors").is_file():
        _put_head(network, directory, facts)
    return network.eval()


def _with_code(directory: Path, facts: Mapping[str, Any]) -> Any:
    """Build the network that a folder's module describes, from its weights alone: no code of a folder is run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    from harness.models.image_files.image_pooling import LAYER
    from harness.models.loading import ENCODER_DECODERS
    from harness.tasks.runtime import saved_runtime

    try:
        settings = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        stored = settings["backbone"]
        config = AutoConfig.for_model(stored["model_type"], **{k: v for k, v in stored.items() if k != "model_type"})
        kind: Any = AutoModelForTextEncoding if config.model_type in ENCODER_DECODERS else AutoModel
        options = settings.get("options")
        backbone = _without_pooler(kind, config) if options is None else kind.from_config(config, **options)
        if (layer := facts["model"].get("layer")) is not None:
            setattr(backbone, LAYER, layer)
        tensors = load_file(directory / "model.safetensors")
        if size := settings.get("size"):
            setattr(backbone, POOLED_WIDTH, size)
        network = saved_runtime(facts).network(backbone, _pooling(facts))
        _make_head(network, facts)
        network.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise HarnessError(f"The merged model in {directory} cannot be loaded: export it again.") from error
    return network.eval()


def _pooling(facts: Mapping[str, Any]) -> str:
    """Return how the vectors of a row become one, as the family says; an export does not name where its model lay."""
    from harness.serving.saved_model import backbone_of

    return backbone_of({**facts, "model": {**facts["model"], "path": "."}}).pooling


def _without_pooler(kind: Any, config: Any) -> nn.Module:
    """Build a model without its pooling layer, which not every architecture can omit."""
    try:
        found: nn.Module = kind.from_config(config, add_pooling_layer=False)
    except TypeError:
        found = kind.from_config(config)
    return found


def _put_head(network: Any, directory: Path, facts: Mapping[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _make_head(network, facts)
    try:
        tensors = load_file(directory / "head.safetensors")
        network.head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in tensors.items()})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HarnessError(f"The head in {directory} cannot be loaded: export the model again.") from error


def _make_head(network: Any, facts: Mapping[str, Any]) -> None:
    from harness.models.heads import KnnHead
    from harness.models.pooling import width

    if voters := facts.get("neighbours"):
        network.head = KnnHead(size=width(network.backbone), classes=network.classes, **voters)
