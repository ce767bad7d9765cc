"""Kinds: stable names of the program's classes in configurations, signatures and saved files.

`kind: lda` in a configuration stands for the class in `KINDS`. Only this table has the class's path, so modules and
classes can be moved and renamed: change the kind's `target`, and stored files stay valid. A class of the user's own is
named by `_target_: package.module.Class`, which takes precedence over a `kind` beside it. Likewise `peft_type: LORA`,
PEFT's own name, stands for a configuration class of PEFT in a method's `config`.

This module does not import the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.family import families
from harness.errors import Problems, nearest

TARGET, KIND, PEFT_TYPE = "_target_", "kind", "peft_type"


@dataclass(frozen=True)
class Kind:
    """A class that comes with the program.

    Attributes:
        section: the section of the configuration that it belongs to: task, model, method, augment or tracker.
        target: its current dotted path.
        signed: the path in signatures of runs from before kinds existed. It is an identifier, not a location, and never
            changes; None for a later kind, which is signed by its name.
        reads: of an augmentation, what it changes: text | image.
    """

    section: str
    target: str
    signed: str | None = None
    reads: str = "text"


def _first(section: str, path: str, target: str | None = None) -> Kind:
    """Make a kind whose signatures contain its original path."""
    return Kind(section, target or path, signed=path)


KINDS: dict[str, Kind] = {
    **{
        name: Kind("task", kind.target, signed=kind.signed)
        for family in families().values()
        for name, kind in family.kinds.items()
    },
    "pretrained": _first("model", "harness.models.Model", "harness.models.PretrainedModel"),
    "interactions": Kind("model", "harness.models.recommenders.interaction_model.InteractionModel"),
    "popularity": Kind("method", "harness.methods.recommenders.popularity.Popularity"),
    "item_knn": Kind("method", "harness.methods.recommenders.item_knn.ItemKnn"),
    "ease": Kind("method", "harness.methods.recommenders.ease.Ease"),
    "sasrec": Kind("method", "harness.methods.recommenders.sasrec.SasRec"),
    "bm25": Kind("method", "harness.methods.bm25.Bm25"),
    "full": _first("method", "harness.methods.full.Full"),
    "peft": _first("method", "harness.methods.peft_method.PeftMethod", "harness.methods.peft.peft_method.PeftMethod"),
    "adalora": _first("method", "harness.methods.adalora.AdaLora", "harness.methods.peft.adalora.AdaLora"),
    "eva": _first("method", "harness.methods.eva.Eva", "harness.methods.peft.eva.Eva"),
    "adapters": _first("method", "harness.methods.adapters.Adapters", "harness.methods.bottleneck_adapters.Adapters"),
    "bitfit": _first("method", "harness.methods.bitfit.BitFit"),
    "head_only": Kind("method", "harness.methods.head_only.HeadOnly"),
    "last_layers": _first("method", "harness.methods.last_layers.LastLayers"),
    "gradual_unfreezing": _first("method", "harness.methods.gradual_unfreezing.GradualUnfreezing"),
    "setfit": _first("method", "harness.methods.setfit.SetFit"),
    "linear_probe": _first(
        "method", "harness.methods.linear_probe.LinearProbe", "harness.methods.closed_form.linear_probe.LinearProbe"
    ),
    "nearest_mean": _first(
        "method", "harness.methods.nearest_mean.NearestMean", "harness.methods.closed_form.nearest_mean.NearestMean"
    ),
    "zero_shot": _first(
        "method", "harness.methods.zero_shot.ZeroShot", "harness.methods.closed_form.zero_shot.ZeroShot"
    ),
    "lda": _first("method", "harness.methods.lda.Lda", "harness.methods.closed_form.lda.Lda"),
    "knn": _first("method", "harness.methods.knn.Knn", "harness.methods.closed_form.knn.Knn"),
    "few_shot": Kind("method", "harness.methods.few_shot.FewShot"),
    "eda": _first("augment", "harness.augment.eda.Eda"),
    "noise": _first("augment", "harness.augment.noise.Noise"),
    "paraphrase": _first("augment", "harness.augment.paraphrase.Paraphrase"),
    "distillation": Kind("augment", "harness.augment.distillation.Distillation"),
    **{
        name: Kind("augment", f"harness.augment.{target}", reads="image")
        for name, target in (
            ("image_flip", "images.Flip"),
            ("image_flip_vertical", "images.VerticalFlip"),
            ("image_crop", "images.RandomResizedCrop"),
            ("image_color", "images.Color"),
            ("randaugment", "randaugment.RandAugment"),
            ("mixup", "images.Mixup"),
        )
    },
    "tensorboard": _first("tracker", "harness.track.tensorboard.TensorBoard"),
    "wandb": _first(
        "tracker", "harness.track.weights_and_biases.WeightsAndBiases", "harness.track.wandb.WeightsAndBiases"
    ),
}

# Configuration classes of PEFT by PEFT type, and EVA, which is a part of LoRA's. Signatures contain their paths.
PEFT_TYPES: dict[str, str] = {
    "ADALORA": "peft.AdaLoraConfig", "ADAMSS": "peft.AdamssConfig",
    "BEFT": "peft.BeftConfig", "BOFT": "peft.BOFTConfig",
    "C3A": "peft.C3AConfig", "CARTRIDGE": "peft.CartridgeConfig",
    "DEFT": "peft.DeftConfig", "DELORA": "peft.DeloraConfig",
    "EVA": "peft.EvaConfig", "FOURIERFT": "peft.FourierFTConfig",
    "FROD": "peft.FrodConfig", "GLORA": "peft.GloraConfig",
    "GRALORA": "peft.GraloraConfig", "HIRA": "peft.HiraConfig",
    "HRA": "peft.HRAConfig", "IA3": "peft.IA3Config",
    "LILY": "peft.LilyConfig", "LN_TUNING": "peft.LNTuningConfig",
    "LOHA": "peft.LoHaConfig", "LOKR": "peft.LoKrConfig",
    "LORA": "peft.LoraConfig", "MISS": "peft.MissConfig",
    "OFT": "peft.OFTConfig", "OSF": "peft.OSFConfig",
    "PEANUT": "peft.PeanutConfig", "PREFIX_TUNING": "peft.PrefixTuningConfig",
    "PROMPT_TUNING": "peft.PromptTuningConfig", "PSOFT": "peft.PsoftConfig",
    "PVERA": "peft.PveraConfig", "P_TUNING": "peft.PromptEncoderConfig",
    "RANDLORA": "peft.RandLoraConfig", "ROAD": "peft.RoadConfig",
    "SHIRA": "peft.ShiraConfig", "SUPERTUNING": "peft.SupertuningConfig",
    "TINYLORA": "peft.TinyLoraConfig", "TRAINABLE_TOKENS": "peft.TrainableTokensConfig",
    "UNILORA": "peft.UniLoraConfig", "VBLORA": "peft.VBLoRAConfig",
    "VERA": "peft.VeraConfig", "WAVEFT": "peft.WaveFTConfig",
}  # fmt: skip

_BY_PATH = {path: name for name, kind in KINDS.items() for path in (kind.target, kind.signed) if path is not None}

_PEFT_BY_PATH = {path: name for name, path in PEFT_TYPES.items()}


def kind_of(node: Any) -> str | None:
    """Return the kind of a configuration node, or the dotted path of a class of the user's own; None without both."""
    if not isinstance(node, Mapping):
        return None
    if (path := node.get(TARGET)) is not None:
        return _BY_PATH.get(str(path), str(path))
    name = node.get(KIND)
    return None if name is None else str(name)


def with_target(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node as Hydra instantiates it: with `_target_` and without `kind`.

    An unknown kind is left as it is (see `check_kinds`).
    """
    kind = KINDS.get(kind_of(node) or "")
    rest = {key: _peft_paths(value) for key, value in node.items() if key != KIND}
    if kind is not None:
        return {**rest, TARGET: kind.target}
    return rest if TARGET in node else {**node, **rest}


def class_path(node: Any) -> str | None:
    """Return the dotted path of a node's class, from `_target_`, `kind` or `peft_type`; None if it names none."""
    if not isinstance(node, Mapping):
        return None
    path = with_target(node).get(TARGET) or PEFT_TYPES.get(str(node.get(PEFT_TYPE)))
    return None if path is None else str(path)


def named(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the program's classes are named by kind, as in files of this version."""
    return _each_node(config, _named)


def signed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in the form that is hashed: kinds are replaced by their identifiers in signatures."""
    return _each_node(config, _signed)


def check_kinds(config: Mapping[str, Any], problems: Problems) -> bool:
    """Add a problem for each node whose kind is unknown or of another section. Return whether there is none."""
    good = True
    method = config.get("method")
    for message in unknown_peft_types(method):
        good = problems.check(False, message)
    for key, node in _nodes(config):
        section = key.partition(".")[0]
        name = node.get(KIND)
        if name is None or TARGET in node:
            continue
        known = [each for each, kind in KINDS.items() if kind.section == section]
        good &= problems.check(
            str(name) in known,
            f"{key}.kind={name}: there is no such kind of {section}. {nearest(str(name), known)} A class of your own "
            f"is named by its path: +{key}._target_=<package>.<module>.<class>.",
        )
    return good


def unknown_peft_types(value: Any, where: str = "method") -> list[str]:
    """Return a message for each unknown `peft_type` in a value, nested ones included; [] if there is none."""
    if not isinstance(value, Mapping):
        return []
    found = [message for key, each in value.items() for message in unknown_peft_types(each, f"{where}.{key}")]
    name = value.get(PEFT_TYPE)
    if name is not None and TARGET not in value and str(name) not in PEFT_TYPES:
        found.append(
            f"{where}.peft_type={name}: there is no such type. {nearest(str(name), PEFT_TYPES)} A later type of "
            "PEFT is named by its class: +method.config._target_=peft.<class>."
        )
    return found


def _named(node: Mapping[str, Any]) -> dict[str, Any]:
    name = kind_of(node)
    rest = {key: _peft_types(value) for key, value in node.items() if key not in (KIND, TARGET)}
    if name in KINDS:
        return {KIND: name, **rest}
    return {TARGET: node[TARGET], **rest} if TARGET in node else dict(node)


def _signed(node: Mapping[str, Any]) -> dict[str, Any]:
    name = kind_of(node)
    rest = {key: _peft_paths(value) for key, value in node.items() if key not in (KIND, TARGET)}
    if name in KINDS:
        path = KINDS[name].signed
        return {KIND: name, **rest} if path is None else {TARGET: path, **rest}
    return {TARGET: node[TARGET], **rest} if TARGET in node else dict(node)


def _peft_paths(value: Any) -> Any:
    """Return a value in which PEFT types are replaced by the paths of their classes."""
    if not isinstance(value, Mapping):
        return value
    inner = {key: _peft_paths(each) for key, each in value.items() if key != PEFT_TYPE}
    path = value.get(TARGET) or PEFT_TYPES.get(str(value.get(PEFT_TYPE)))
    return {**inner, TARGET: path} if path is not None else {**value, **inner}


def _peft_types(value: Any) -> Any:
    """Return a value in which paths of PEFT's classes are replaced by PEFT types."""
    if not isinstance(value, Mapping):
        return value
    inner = {key: _peft_types(each) for key, each in value.items() if key not in (PEFT_TYPE, TARGET)}
    path = value.get(TARGET)
    name = value.get(PEFT_TYPE) if path is None else _PEFT_BY_PATH.get(str(path))
    return {**({PEFT_TYPE: name} if name is not None else {} if path is None else {TARGET: path}), **inner}


def _nodes(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for section in ("task", "model", "method"):
        if isinstance(node := config.get(section), Mapping):
            yield section, node
    for section in ("augment", "tracker"):
        if isinstance(nodes := config.get(section), Mapping):
            yield from ((f"{section}.{name}", node) for name, node in nodes.items() if isinstance(node, Mapping))


def _each_node(config: Mapping[str, Any], change: Any) -> dict[str, Any]:
    changed = dict(config)
    for key, node in _nodes(config):
        section, _, name = key.partition(".")
        if name:
            changed[section] = {**changed[section], name: change(node)}
        else:
            changed[section] = change(node)
    return changed
