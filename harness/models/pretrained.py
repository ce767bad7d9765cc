"""Find a pretrained model's files and identify them by a digest, without importing torch.

The coordinator resolves models before it starts runs, so this module is light and fails within seconds when offline.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.api.family import TaskFamily
from harness.errors import HarnessError, Problems, nearest, typed
from harness.models.files.digests import generation_digest, sha256
from harness.models.files.hub import from_cache, from_hub, not_fetched, remember_absent
from harness.models.files.input_settings import check_inputs
from harness.models.files.model_files import PATTERNS, check_directory, check_generation, names
from harness.models.image_files.image_architectures import BOXES, reads_images
from harness.models.packaged import efficientnet, whisper
from harness.models.packaged.gguf import FORMAT, converted
from harness.models.packaged.packages import install_command, package_directory
from harness.models.sound_files.sound_architectures import WHISPER, reads_sounds
from harness.records.signature import digest

QUANTISED = ("8bit", "4bit")
INITS_FROM_WEIGHTS = ("pissa", "olora")  # LoRA initializations that change the base weights
POOLINGS = ("mean", "cls", "last", "model")  # of tokens
IMAGE_POOLINGS = ("pooler", "mean", "flatten", "cls", "model")
SOUND_POOLINGS = ("mean", "mean_std", "quarters")
WIDENING = ("flatten", "mean_std", "quarters")  # poolings whose vectors are larger than those of tokens
CONFIG, INTERACTIONS = "config.json", "interactions"  # the latter: model_type of what has no pretrained backbone
LANGUAGE = "language"  # set by families that write texts, not by users: the architecture's own language-modelling head
TOKENS = "tokens"  # set by families that predict something for each word: no pooling, a head on token vectors
HISTORY = "history"  # set by families that recommend: a scorer of histories, without a backbone
OWN_HEADS = ("model", LANGUAGE, HISTORY, BOXES)  # values of `pooling` that give no pooled vectors


@dataclass(frozen=True)
class ResolvedModel:
    """A model whose files are on this machine.

    Attributes:
        path: the directory with config.json, *.safetensors and the tokenizer.
        digest: 64 hex digits that identify the content of those files, independent of the source.
        source: where it was found, for messages.
        quantize: quantization of the weights, see `PretrainedModel`; part of the digest.
        notes: notes about the files, for the user.
        backbone: digest of the backbone alone, where `digest` covers what generation reads besides; None: `digest`.
        start: file of the tensors that an earlier training changed (`train.init`); None: the pretrained weights.
        base: digest of the pretrained model alone, where there is such a start; None: `digest`.
        image: image_size, image_mean and image_std of `PretrainedModel`, where given; part of the digest.
        sound: likewise sampling_rate.
        transcribes: whether it writes what is said in sounds; part of the digest.
        layer: `PretrainedModel.layer`; no part of the digest, so that it can be tuned.
        layers: names of the layers with weights, as the loaded architecture has them; () if it was not examined.
    """

    path: Path
    digest: str
    source: str
    quantize: str | None = None
    notes: tuple[str, ...] = ()
    backbone: str | None = None
    start: Path | None = None
    base: str | None = None
    image: dict[str, Any] = field(default_factory=dict)
    sound: dict[str, Any] = field(default_factory=dict)
    transcribes: bool = False
    layer: int | None = None
    layers: tuple[str, ...] = ()

    @property
    def architecture(self) -> str | None:
        """The `model_type` in its config.json, such as bert; None if it cannot be read."""
        found = self._config().get("model_type")
        return None if found is None else str(found)

    @property
    def reads_images(self) -> bool:
        """Whether it reads images, and not texts."""
        return not self.reads_sounds and reads_images(self.architecture, self.path)

    @property
    def reads_sounds(self) -> bool:
        """Whether it reads sounds, and not texts."""
        return reads_sounds(self.architecture, self.path)

    @property
    def reads(self) -> str:
        """What its rows are, see `TaskFamily`."""
        if self.architecture == INTERACTIONS:
            return "interaction"
        return "sound" if self.reads_sounds else "image" if self.reads_images else "text"

    @property
    def blocks(self) -> int | None:
        """The number of transformer blocks in its config.json; None if it is not known."""
        config = self._config()
        usual = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
        # Of Whisper the encoder alone is loaded, unless it transcribes: then the last blocks are the decoder's.
        own = (["decoder_layers"] if self.transcribes else []) if self.architecture == WHISPER else []
        keys = [*own, *usual, *(["encoder_layers"] if self.architecture == WHISPER else [])]
        found = [config[name] for name in keys if name in config]
        if not found and isinstance(config.get("depths"), list):  # the stages of a convolutional network
            return len(config["depths"])
        return found[0] if found and isinstance(found[0], int) else None

    def _config(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}


@dataclass(kw_only=True)
class PretrainedModel:
    """A pretrained encoder, and how its token vectors are pooled into one vector (conf/model).

    Attributes:
        name: the file's name in conf/model.
        hub: repository on the Hugging Face hub.
        revision: commit or branch of `hub`; None is its main branch.
        path: a directory that holds the model; takes precedence over all other sources.
        bundled: Python package with the same files, or with one GGUF file that is converted once; used when neither
            cache nor hub has them, if `digests` match.
        digests: {file: sha256 hex} of pinned files; files from the hub and the package must match.
        digests_of: the source of `digests` and `bundled`, owner/name@revision: a `hub` or `revision` that differs is
            refused, and so is a `path` with other files. None checks neither.
        pooling: mean | cls | last (token) | model (the architecture's own classification head); of images pooler (the
            architecture's own pooled vector) | mean | flatten (the vectors of all positions, so that it counts where
            something is) | cls | model; of sounds mean | mean_std | quarters, see `harness.models.sound_files`.
        max_tokens: longest input; None is the architecture's own limit.
        target_modules: layers that an adapter changes if its method names none; None: the architecture's.
        resources: minimum resources of a job, such as {mem_gb: 16}; combined with the method's and the cluster
            profile's.
        quantize: 8bit (LLM.int8, Dettmers et al. 2022) | 4bit (NF4 of QLoRA, Dettmers et al. 2023) stores the frozen
            weights in fewer bits, with bitsandbytes; None keeps them in 32.
        image_size: height and width in pixels to which images are resized; None: as the model's files say.
        layer: of a model of images or sounds, the block after which vectors are taken, counted from 1; None: the last.
        image_mean, image_std: of each channel, of values in [0, 1]; None: as the model's files say.
        sampling_rate: samples a second that a model of sounds reads, in Hz, if its files do not say.
    """

    name: str
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    bundled: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    digests_of: str | None = None
    pooling: str = "mean"
    max_tokens: int | None = None
    target_modules: list[str] | None = None
    resources: dict[str, Any] = field(default_factory=dict)
    quantize: str | None = None
    image_size: int | None = None
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    sampling_rate: int | None = None
    layer: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        self.digests = self.digests or {}  # null in a configuration
        problems = Problems()
        known = dict.fromkeys((*POOLINGS, *IMAGE_POOLINGS, *SOUND_POOLINGS))
        problems.check(
            self.pooling in known,
            f"model.pooling cannot be {self.pooling}. {nearest(self.pooling, known)}",
        )
        check_inputs(self, problems)
        problems.check(
            self.quantize is None or self.quantize in QUANTISED,
            f"model.quantize cannot be {self.quantize}: null (32 bits), {' or '.join(QUANTISED)}.",
        )
        problems.check(
            self.max_tokens is None or self.max_tokens > 0,
            f"model.max_tokens must be above 0, not {self.max_tokens}.",
        )
        problems.check(
            bool(self.hub or self.path or self.bundled),
            f"model={self.name} names no source: set model.hub=<owner/name> or model.path=<directory>, and model.name.",
        )
        problems.raise_any()

    @property
    def _image(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("image_size", "image_mean", "image_std")}
        return {name: value for name, value in given.items() if value is not None}

    def for_family(self, family: TaskFamily) -> PretrainedModel:
        """Return the model as a task family uses it: `pooling` counts only where a row has one vector."""
        owns = ((family.reads == "interaction", HISTORY), (family.writes, LANGUAGE), (family.tokens, TOKENS))
        own = next((pooling for holds, pooling in (*owns, (family.locates, BOXES)) if holds), None)
        if own is None:
            return self
        model = copy.copy(self)
        model.pooling = own
        return model

    def resolve(self, cache_dir: str | Path) -> ResolvedModel:
        """Find the model's files, see `_find`; a quantized model has a different digest, and so has one that writes.

        Raises:
            HarnessError: see `_find`; or bitsandbytes is missing.
        """
        if self.quantize and importlib.util.find_spec("bitsandbytes") is None:
            raise HarnessError(
                f"model.quantize={self.quantize} needs bitsandbytes, which is not installed: "
                "pip install 'harness[quantize]', or leave model.quantize null."
            )
        found = self._find(cache_dir)
        if self._image:
            found = replace(found, digest=digest([found.digest, self._image]), image=self._image)
        if self.sampling_rate is not None:
            own = {"sampling_rate": self.sampling_rate}
            found = replace(found, digest=digest([found.digest, own]), sound=own)
        if self.layer is not None:
            found = replace(found, layer=self.layer)
        if self.pooling == LANGUAGE:
            check_generation(found.path, f"The model at {found.path} ({found.source})")
            found = replace(found, backbone=found.digest, digest=generation_digest(found.digest, found.path))
            if found.reads_sounds:
                found = replace(found, transcribes=True, digest=digest([found.digest, "transcribes"]))
        if self.quantize:
            return replace(found, digest=digest([found.digest, self.quantize]), quantize=self.quantize)
        return found

    def check_method(self, method: dict[str, Any]) -> None:
        """Refuse a method that cannot train on quantized weights according to its YAML.

        Raises:
            HarnessError: it cannot.
        """
        fits = (method.get("about") or {}).get("quantized", False)
        rewrites = (method.get("config") or {}).get("init_lora_weights") in INITS_FROM_WEIGHTS
        if self.quantize and (not fits or rewrites):
            raise HarnessError(
                f"method={method.get('name')} cannot train on a backbone of model.quantize={self.quantize}: it changes "
                "or reads weights that are stored in fewer bits, or its YAML does not say "
                "method.about.quantized: true. Use method=lora, dora, adalora, ia3 or prompt_tuning, or leave "
                "model.quantize null."
            )

    def _find(self, cache_dir: str | Path) -> ResolvedModel:
        """Find the model's files: explicit path, local cache, hub, then the bundled package.

        Args:
            cache_dir: where digests of large files are cached.

        Raises:
            HarnessError: a path is not a model, digests differ, or no source is reachable.
        """
        remembered = Path(cache_dir).expanduser() / "digests"
        if self.path:
            path = _expanded(self.path)
            check_directory(path, f"model.path={self.path}")
            if self.digests_of:
                self._verify(path, remembered, f"model.path={self.path}")
            return ResolvedModel(path.resolve(), self._digest(path, remembered), f"path {self.path}")
        self._check_pins()
        tried = []
        if self.hub:
            path_or_reason = from_cache(self.hub, self.revision)
            if isinstance(path_or_reason, str):
                path_or_reason = from_hub(self.hub, self.revision, path_or_reason)
            notes: tuple[str, ...] = ()
            if isinstance(path_or_reason, Path) and self.pooling == LANGUAGE:
                notes = self._complete(self.hub, path_or_reason)
            if isinstance(path_or_reason, Path):
                self._verify(path_or_reason, remembered, f"{self.hub} from the hub")
                revision = path_or_reason.name  # a snapshot's directory is named after its commit
                source = f"hub {self.hub}@{revision}"
                return ResolvedModel(path_or_reason, self._digest(path_or_reason, remembered), source, notes=notes)
            tried.append(path_or_reason)
        if self.bundled:
            directory = package_directory(self.bundled, self.digests)
            if directory is not None:
                # Without pinned digests the package's files cannot be verified.
                if not self.digests:
                    raise HarnessError(f"model.bundled={self.bundled} needs model.digests to be checked against.")
                self._verify(directory, remembered, f"the package {self.bundled}")
                return self._of_package(directory, cache_dir, remembered)
            tried.append(f"the package {self.bundled} is not installed")
        raise HarnessError(self._unreachable(tried))

    def _complete(self, hub: str, snapshot: Path) -> tuple[str, ...]:
        """Fetch what generation reads and a snapshot in the cache lacks; return a note if that is not possible."""
        if not (lacks := not_fetched(snapshot)):
            return ()
        if isinstance(from_hub(hub, snapshot.name, ""), Path):
            remember_absent(snapshot)
            return ()
        ways = " and ".join(f"`hf download {hub} {name} --revision {snapshot.name}`" for name in lacks)
        return (
            f"model={self.name}: {hub} in the local cache has no {' and no '.join(lacks)}. If the repository has, the "
            f"model may write other texts with it. On a machine that reaches the hub, run {ways}, which also notes "
            "what the repository lacks.",
        )

    def _of_package(self, directory: Path, cache_dir: str | Path, remembered: Path) -> ResolvedModel:
        """Return the model in a package whose files are checked; one in a GGUF file is converted first."""
        found, source = self._digest(directory, remembered), f"package {self.bundled}"
        if state := next((name for name in self.digests if name.endswith(".pth")), None):
            made = efficientnet.converted(directory / state, self.digests[state], cache_dir, self.name)
            return ResolvedModel(made, digest([found, "pth", efficientnet.FORMAT]), source)
        if whisper.FILE in self.digests:
            made = whisper.converted(directory / whisper.FILE, self.digests[whisper.FILE], cache_dir, self.name)
            return ResolvedModel(made, digest([found, "ct2", whisper.FORMAT]), source)
        file = next((name for name in self.digests if name.endswith(".gguf")), None)
        if file is None:
            return ResolvedModel(directory, found, source)
        made = converted(directory / file, self.digests[file], cache_dir, self.name)
        return ResolvedModel(made, digest([found, "gguf", FORMAT]), source)

    def _check_pins(self) -> None:
        """Refuse a repository or revision other than the one whose digests and package are pinned.

        Raises:
            HarnessError: it is another one.
        """
        if self.digests_of is None or not (self.digests or self.bundled):
            return
        repository, _, revision = self.digests_of.partition("@")
        if self.hub is not None and self.hub != repository:
            raise HarnessError(
                f"model.hub={self.hub} is not the model that model={self.name} names: its digests and its package are "
                f"those of {repository}. {self._own()}"
            )
        if self.hub is not None and revision and self.revision != revision:
            raise HarnessError(
                f"model.revision={self.revision or 'null'} is not what model={self.name} names: its digests are those "
                f"of revision {revision}. {self._own()}"
            )

    def _own(self) -> str:
        """Say how to use the same source as a model of one's own."""
        if self.path:
            source = typed("model.path", self.path)
        else:
            source = f"model.hub={self.hub or '<owner/name>'}"
            if self.revision and not str(self.digests_of).endswith(f"@{self.revision}"):
                source += f" model.revision={self.revision}"
        return (
            f"A model of your own: model=own {source} model.name=mine (in a YAML that builds on {self.name}: "
            "digests, digests_of and bundled null, and a revision of its own)."
        )

    def _verify(self, directory: Path, remembered: Path, what: str) -> None:
        """Compare a source's files with the pinned digests.

        Raises:
            HarnessError: they differ.
        """
        other = []
        for name, expected in self.digests.items():
            file = directory / name
            found = sha256(file, remembered) if file.is_file() else "no such file"
            if found != expected:
                other.append(f"{name} has sha256 {found[:12]}, not {expected[:12]}")
        if other:
            mend = "" if self.path else "Remove it and fetch it anew. "
            raise HarnessError(
                f"{what} is not the model that model={self.name} names: {names(other)}. {mend}{self._own()}"
            )

    def _digest(self, directory: Path, remembered: Path) -> str:
        # Only the pinned files, if there are any, so that a pinned model has the same digest from every source.
        names = [name for name in self.digests if (directory / name).is_file()] or sorted(
            {file.name for pattern in PATTERNS for file in directory.glob(pattern) if file.is_file()}
        )
        return digest({name: sha256(directory / name, remembered) for name in names})

    def _unreachable(self, tried: list[str]) -> str:
        ways = []
        if self.hub:
            at = f" --revision {self.revision}" if self.revision else ""
            ways.append(
                f"on a machine that reaches the hub, run `hf download {self.hub}{at}` (it fills the cache "
                "that HF_HOME names)"
            )
        ways.append("point model.path at a directory that holds config.json, model.safetensors and the tokenizer")
        if self.bundled:
            ways.append(f"install the package that carries it: {install_command(self.bundled)}")
        listed = "; ".join(f"({number}) {way}" for number, way in enumerate(ways, 1))
        return f"model={self.name} was not found: {'; '.join(tried)}. Ways to get it: {listed}."


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the user has no home directory
        return Path(path)
