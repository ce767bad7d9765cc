"""The formats of an export: which model each can hold, what it writes, and how its own tool reads it."""

from __future__ import annotations

import json
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.family import family_of
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.models.pooling import width
from harness.records.files import write_json
from harness.records.study_files import DESCRIPTION
from harness.serving.predict import Predictor

Outputs = Callable[[Batch], Any]  # of a batch: (n, m)
WEIGHTS = (".safetensors", ".onnx")


@dataclass(frozen=True)
class Original:
    """A saved model to export.

    Attributes:
        directory: its folder.
        facts: its harness.json.
        predictor: the model, loaded anew for each format: formats may change its network.
        base: the directory of its pretrained backbone.
    """

    directory: Path
    facts: Mapping[str, Any]
    predictor: Predictor
    base: Path

    @property
    def writes(self) -> bool:
        """Whether it writes texts."""
        return family_of(self.facts.get("family")).writes

    @property
    def own_head(self) -> bool:
        """Whether its outputs are those of its architecture, without a head of this program's."""
        return self.predictor.network.head is None

    @property
    def adapter(self) -> Path | None:
        """The folder of its adapter, in PEFT's format; None without one."""
        places = (self.directory / "adapter", self.directory)
        return next((each for each in places if (each / "adapter_config.json").is_file()), None)

    @property
    def prepends(self) -> bool:
        """Whether its adapter adds virtual tokens to inputs, which no weights can hold."""
        config = getattr(self.predictor.network.backbone, "peft_config", {})
        return any(each.is_prompt_learning for each in config.values())


class Format(ABC):
    """A format.

    Attributes:
        name: as `--format` names it.
        loads: who loads it, for people.
    """

    name: str
    loads: str

    @abstractmethod
    def obstacle(self, original: Original) -> str | None:
        """Return why a model cannot have this format, as the end of a sentence; None if it can."""

    @abstractmethod
    def write(self, original: Original, directory: Path) -> None:
        """Write the model's files into an empty directory, without harness.json."""

    @abstractmethod
    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Load what was written with the tool it is for, and return its outputs by batch."""


class PeftFormat(Format):
    """The adapter and the head, at the top of the folder, where PEFT, transformers and vLLM look."""

    name = "peft"
    loads = "peft.PeftModel, transformers, vLLM (--enable-lora)"

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        return None if original.adapter else f"{original.facts['method']} trains no adapter of PEFT"

    def write(self, original: Original, directory: Path) -> None:
        """See `Format`."""
        assert original.adapter is not None
        shutil.copy(original.adapter / "adapter_model.safetensors", directory)
        config = json.loads((original.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        stored = original.facts["model"]
        # The place where the base lay on this machine is of no use to others.
        config["base_model_name_or_path"] = stored.get("hub") or stored["name"]
        config["revision"] = stored.get("revision")
        if original.writes and config.get("task_type") is None:
            encoder_decoder = original.predictor.network.is_encoder_decoder
            config["task_type"] = "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM"
        write_json(directory / "adapter_config.json", config)
        for name in ("head.safetensors", "backbone.safetensors"):
            if (original.directory / name).is_file():
                shutil.copy(original.directory / name, directory / name)

    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Load the base with transformers and the adapter with PEFT; the head is applied by hand."""
        from peft import PeftModel
        from safetensors.torch import load_file

        from harness.models import ResolvedModel
        from harness.models.language.language_model import network_on
        from harness.models.network import load_backbone

        network = original.predictor.network
        found = load_backbone(ResolvedModel(original.base, "", "base"), network.pooling, network.classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(found, str(directory)).eval()
        fresh = network_on(adapted, network.pooling, network.classes)
        fresh.head = network.head
        if (directory / "head.safetensors").is_file():
            fresh.load_state_dict(load_file(directory / "head.safetensors"), strict=False)
        return fresh.eval()


class MergedFormat(Format):
    """One folder of transformers, the adapter merged into the weights."""

    name = "merged"
    loads = "transformers: AutoModelForSequenceClassification, AutoModelForCausalLM, pipeline()"

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        return _unmerged(original)

    def write(self, original: Original, directory: Path) -> None:
        """See `Format`."""
        backbone = merged_backbone(original)
        labels = list(original.predictor.labels) or ["value"]
        if original.writes or original.own_head:
            if not original.writes:
                backbone.config.id2label = dict(enumerate(labels))
                backbone.config.label2id = {label: place for place, label in enumerate(labels)}
            backbone.save_pretrained(str(directory))
            return
        self._write_pooled(original, backbone, labels, directory)

    def _write_pooled(self, original: Original, backbone: Any, labels: list[str], directory: Path) -> None:
        from safetensors.torch import save_file

        from harness.export.modeling_pooled import PooledClassifier, PooledConfig
        from harness.models.heads import SCALE

        network = original.predictor.network
        stored = backbone.config.to_diff_dict()
        inner = {key: value for key, value in stored.items() if key not in ("_name_or_path", "architectures")}
        config = PooledConfig(
            backbone={**inner, "model_type": backbone.config.model_type},
            pooling=original.facts["model"]["pooling"],
            scale=SCALE,
            voters=original.facts.get("neighbours"),
            num_labels=network.classes,
            id2label=dict(enumerate(labels)),
            label2id={label: place for place, label in enumerate(labels)},
            architectures=[PooledClassifier.__name__],
            auto_map={
                "AutoConfig": f"modeling_pooled.{PooledConfig.__name__}",
                "AutoModelForSequenceClassification": f"modeling_pooled.{PooledClassifier.__name__}",
            },
            dtype="float32",
            max_position_embeddings=getattr(backbone.config, "max_position_embeddings", None),
        )
        if network.classes == 1 and not original.predictor.labels:
            config.problem_type = "regression"
        config.save_pretrained(str(directory))
        tensors = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
        tensors |= {f"head.{name}": tensor for name, tensor in network.head.state_dict().items()}
        save_file(
            {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()},
            directory / "model.safetensors", metadata={"format": "pt"},
        )  # fmt: skip
        shutil.copy(Path(__file__).with_name("modeling_pooled.py"), directory / "modeling_pooled.py")

    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Load the folder with transformers alone."""
        from transformers import AutoModelForSequenceClassification

        from harness.models import ResolvedModel
        from harness.models.language.language_model import LanguageModel
        from harness.models.network import load_backbone

        if original.writes:
            return LanguageModel(load_backbone(ResolvedModel(directory, "", "export"), "language", 2)).eval()
        kind: Any = AutoModelForSequenceClassification
        found = kind.from_pretrained(str(directory), trust_remote_code=True).eval()
        return lambda batch: found(**batch).logits


class SentenceTransformersFormat(Format):
    """The encoder as sentence-transformers has it, with the head in a file beside."""

    name = "sentence-transformers"
    loads = "sentence_transformers.SentenceTransformer"

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        if original.writes or original.own_head:
            return "it has no pooled vectors, which embeddings are"
        if original.predictor.pairs:
            return "it reads two texts together, and sentence-transformers embeds one at a time"
        return _unmerged(original)

    def write(self, original: Original, directory: Path) -> None:
        """See `Format`."""
        from safetensors.torch import save_file
        from sentence_transformers import SentenceTransformer, models

        backbone, network = merged_backbone(original), original.predictor.network
        backbone.save_pretrained(str(directory))
        original.predictor.tokenizer.save_pretrained(str(directory))
        mode = {"mean": "mean", "cls": "cls", "last": "lasttoken"}[network.pooling]
        encoder = models.Transformer(str(directory), max_seq_length=original.facts["max_length"])
        pooling = models.Pooling(width(backbone), pooling_mode=mode)
        SentenceTransformer(modules=[encoder, pooling, models.Normalize()], device="cpu").save_pretrained(
            str(directory), create_model_card=False
        )
        head = {f"head.{name}": tensor.detach().contiguous() for name, tensor in network.head.state_dict().items()}
        save_file(head, directory / "head.safetensors")

    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Embed with sentence-transformers; the head is applied by hand."""
        from sentence_transformers import SentenceTransformer

        embedder: Any = SentenceTransformer(str(directory), device="cpu", local_files_only=True)
        network = original.predictor.network
        return lambda batch: network.apply_head(embedder(dict(batch))["sentence_embedding"])


def merged_backbone(original: Original) -> Any:
    """Return a model's backbone as an ordinary model of transformers, with its adapter merged.

    Raises:
        HarnessError: PEFT cannot merge this adapter.
    """
    backbone: Any = original.predictor.network.backbone
    if not hasattr(backbone, "peft_config"):
        return backbone
    try:
        return backbone.merge_and_unload()
    except Exception as error:
        raise HarnessError(
            f"PEFT cannot merge the adapter of {original.facts['method']} into the weights: --format peft or onnx."
        ) from error


def _unmerged(original: Original) -> str | None:
    """Return why a model's adaptation cannot be part of ordinary weights."""
    method = original.facts["method"]
    if original.facts.get("inserted"):
        return f"{method} inserts layers that no architecture of transformers has"
    if original.prepends:
        return f"{method} adds virtual tokens to the input, which no weights can hold"
    if original.facts["model"].get("quantize"):
        return "its base is quantized, and merging into rounded weights would change its predictions"
    if original.adapter and not hasattr(original.predictor.network.backbone, "merge_and_unload"):
        return f"PEFT cannot merge the adapter of {method} into the weights"
    return None


def description(original: Original, name: str, directory: Path) -> None:
    """Write harness.json of an export, so that `harness serve` and `harness predict` load it."""
    facts = dict(original.facts)
    if name != PeftFormat.name:  # it holds its backbone, so where that lay on this machine is of no use
        facts["model"] = {**facts["model"], "path": None}
        facts["source"] = "export"
    facts["weights"] = sorted(each.name for each in directory.iterdir() if each.suffix in WEIGHTS)
    write_json(directory / DESCRIPTION, facts | {"export": name, "writes": original.writes})
