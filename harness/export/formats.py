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

from harness.api.family import TaskFamily, family_of
from harness.data.examples import Batch
from harness.errors import HarnessError
from harness.export.own_code.writing import write_with_code
from harness.models import ResolvedModel
from harness.models.image_files.image_architectures import EFFICIENTNET_LITE, PROCESSOR
from harness.models.pooling import width
from harness.models.vision.detector import DetectorModel
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
        base: its pretrained backbone.
    """

    directory: Path
    facts: Mapping[str, Any]
    predictor: Predictor
    base: ResolvedModel

    @property
    def family(self) -> TaskFamily:
        """The family of its task."""
        return family_of(self.facts.get("family"))

    @property
    def writes(self) -> bool:
        """Whether it writes texts."""
        return self.family.writes

    @property
    def finds(self) -> bool:
        """Whether it finds entities or objects in a row."""
        return self.family.tokens or self.family.locates

    @property
    def architecture(self) -> str:
        """The `model_type` of its backbone."""
        return str(getattr(getattr(self.predictor.network.backbone, "config", None), "model_type", ""))

    @property
    def output_names(self) -> list[str]:
        """What each output is called: the class, the tag, or `value` of a number."""
        return list(self.predictor.labels or self.facts.get("tags") or self.facts.get("classes") or ("value",))

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
        if original.writes and original.family.reads == "text" and config.get("task_type") is None:
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

        from harness.models.network import load_backbone

        network = original.predictor.network
        found = load_backbone(original.base, network.pooling, network.classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = PeftModel.from_pretrained(found, str(directory)).eval()
        fresh = original.predictor.task.network(adapted, network.pooling)
        fresh.head = network.head
        if (directory / "head.safetensors").is_file():
            fresh.load_state_dict(load_file(directory / "head.safetensors"), strict=False)
        return fresh.eval()


class MergedFormat(Format):
    """One folder of transformers, the adapter merged into the weights."""

    name = "merged"
    loads = "transformers: the AutoModelFor... of its task, pipeline()"

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        if original.family.reads == "sound" and not original.writes:
            return "transformers has no classifier of sounds that pools their frames as this model does"
        if original.family.locates and not isinstance(original.predictor.network, DetectorModel):
            return "no architecture of transformers has its head on feature maps"
        if original.architecture == EFFICIENTNET_LITE:
            return f"its architecture, {EFFICIENTNET_LITE}, is not part of transformers"
        return _unmerged(original)

    def write(self, original: Original, directory: Path) -> None:
        """See `Format`."""
        backbone = merged_backbone(original)
        labels = original.output_names
        if original.writes or original.own_head:
            if original.family.reads == "sound" and hasattr(backbone, "generation_config"):
                backbone.generation_config.max_new_tokens = original.predictor.task.writing.decoding.max_new_tokens  # type: ignore[attr-defined] # of its runtime
            if not original.writes:
                backbone.config.id2label = dict(enumerate(labels))
                backbone.config.label2id = {label: place for place, label in enumerate(labels)}
            backbone.save_pretrained(str(directory))
            return
        predictor = original.predictor
        write_with_code(predictor.network, backbone, original.facts, labels, predictor.tokenizer, directory)

    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Load the folder with transformers alone."""
        import transformers

        from harness.models.network import load_backbone

        task, network = original.predictor.task, original.predictor.network
        if original.writes:
            resolved = ResolvedModel(directory, "", "export", transcribes=original.family.reads == "sound")
            return task.network(load_backbone(resolved, network.pooling, 2), network.pooling).eval()
        found: Any = getattr(transformers, auto_class(original))
        loaded = found.from_pretrained(str(directory), trust_remote_code=True).eval()
        if original.family.locates:
            return task.network(loaded, network.pooling).eval()
        if original.family.tokens:
            return lambda batch: loaded(**batch).logits[batch.predicted.bool()]  # type: ignore[attr-defined] # of a TokenBatch
        return lambda batch: loaded(**batch).logits


def auto_class(original: Original) -> str:
    """Return the class of transformers that loads a merged model of this family, if it does not write texts."""
    family = original.family
    if family.locates:
        return "AutoModelForObjectDetection"
    if family.tokens:
        return "AutoModelForTokenClassification"
    return "AutoModelForImageClassification" if family.reads == "image" else "AutoModelForSequenceClassification"


class SentenceTransformersFormat(Format):
    """The encoder as sentence-transformers has it, with the head in a file beside."""

    name = "sentence-transformers"
    loads = "sentence_transformers.SentenceTransformer"

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        if original.family.reads != "text":
            return f"it is of {original.family.name}, and sentence-transformers embeds texts"
        if original.writes or original.own_head or original.family.tokens:
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


def stretch(directory: Path, original: Original) -> None:
    """Let a folder's image processor stretch images to one size, as a model that finds objects was trained."""
    from transformers.models.auto import image_processing_auto

    height, width = original.predictor.task.input_size or original.predictor.tokenizer.sides  # type: ignore[attr-defined] # of its runtime
    file = directory / PROCESSOR
    settings = json.loads(file.read_text(encoding="utf-8"))
    listed: Any = getattr(image_processing_auto, "IMAGE_PROCESSOR_MAPPING_NAMES", {})  # no public name, may go
    if own := (listed.get(original.architecture) or {}).get("pil"):  # it makes boxes of outputs in a pipeline
        settings["image_processor_type"] = own
    size = {"size": {"height": height, "width": width}, "resample": 2, "do_resize": True, "do_pad": False}
    write_json(file, settings | size)


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
