"""Members that share passes, and the backbone through which they go."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.methods.base import Hooks
from harness.models.architectures import FIRST_POSITION
from harness.models.inference import autocast
from harness.models.pooling import pool, widened
from harness.training.fused.attention import NAME, FusedDropout, know, register
from harness.training.fused.layers import LOW_RANK, FusedLayer, base, treatment
from harness.training.fused.layout import Layout
from harness.training.fused.memory import most_tokens
from harness.training.fused.shared_pass import SharedPass
from harness.training.fused.speed_check import SpeedCheck
from harness.training.session import TrainingSession


class FusedGroup:
    """Members whose next batches go through one backbone together.

    Their own classifiers stay what they are: the shared pass reads their adapters and heads where they lie, and leaves
    gradients there. Optimizers, checkpoints, hooks and evaluation know nothing of it.

    Args:
        members: K of them, each of which `packs`, with the same trunk.
        probe: says which way the first rounds go; None shares them all.
    """

    def __init__(self, members: Sequence[TrainingSession], probe: SpeedCheck | None) -> None:
        self.members = members
        self.probe = probe
        self.broken = False
        self.step = SharedPass(members)
        self.backbone = _packed([bare(member) for member in members], self.step)

    @property
    def shares(self) -> bool:
        """Whether the next round shares its pass."""
        return not self.broken and (self.probe is None or self.probe.shares)

    def clock(self) -> float:
        """Seconds; while the probe measures, of when the device had done all that it was given."""
        device = self.members[0].device
        if device.type == "cuda" and self.probe is not None and self.probe.measures:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def break_up(self, error: Exception) -> None:
        """Share no more passes: one could not be computed, for want of memory or for a reason to look into."""
        self.broken = True
        for member in self.members:
            member.say(f"Note: a pass that runs shared failed, and they go on alone ({type(error).__name__}: {error}).")

    def note(self, shared: bool, seconds: float) -> list[float]:
        """Take in how long a round took; give each member's share of its tokens."""
        tokens = [member.next_tokens() for member in self.members]
        if self.probe is not None:
            self.probe.note(shared, seconds, sum(tokens))
        for member in self.members if shared else ():
            member.pack_size = max(member.pack_size, len(self.members))
        return [own / sum(tokens) for own in tokens]

    def losses(self) -> list[Tensor]:
        """Mean loss of each member's next batch, as far as their common graph; it is walked backward once, for all."""
        first = self.members[0]
        batches = [(member.train, member.next_rows()) for member in self.members]
        layout = Layout.of(batches, first.device)
        settings: Any = self.backbone.config
        inputs = {
            "input_ids": layout.ids,
            "position_ids": layout.positions + FIRST_POSITION[settings.model_type](settings),
        }
        if layout.types is not None:
            inputs["token_type_ids"] = layout.types
        with self.step.going(layout), autocast(first.device, first.config.precision):
            hidden = self.backbone(**inputs).last_hidden_state
        by_row = layout.by_row(widened(hidden)[0])
        features = functional.normalize(pool(by_row, layout.mask, first.classifier.pooling), dim=-1)
        losses = []
        for member, (examples, rows), mine in zip(self.members, batches, layout.rows, strict=True):
            labels = torch.from_numpy(examples.labels[rows]).to(first.device)
            losses.append(member.objective.of_logits(member.classifier.classify(features[mine]), labels))
        return losses


def packs(member: TrainingSession) -> bool:
    """Whether a member can share passes: its loss is that of one pass, through layers that pack."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    backbone, hooks = bare(member), member.hooks
    adapters = getattr(member.classifier.backbone, "peft_config", {}).values()
    return (
        member.device.type in ("cpu", "cuda")  # elsewhere a member has no random stream to draw from
        and type(hooks).loss is Hooks.loss
        and member.objective.plain
        and member.config.accumulate == 1  # who accumulates is short of memory
        and member.classifier.head is not None
        and getattr(backbone.config, "model_type", None) in FIRST_POSITION
        and not any(getattr(adapter, "is_prompt_learning", False) for adapter in adapters)
        # Whole layers that are trained beside the pretrained ones are no leaves of it.
        and not any(isinstance(module, AuxiliaryTrainingWrapper) for module in backbone.modules())
        and all(treatment(layer) is not None for _, layer in leaves(backbone))
    )


@torch.no_grad()
def share(member: TrainingSession, pretrained: nn.Module) -> None:
    """Let a member that can share passes hold what it leaves frozen where it was loaded, and not as a copy.

    Args:
        member: as it is before its first step.
        pretrained: the backbone that its own is a copy of. What an adapter has changed of it stays the member's own.
    """
    if not packs(member):
        return
    for name, layer in leaves(bare(member)):
        original = pretrained.get_submodule(name)
        for leaf, parameter in base(layer).named_parameters():
            loaded = original.get_parameter(leaf)
            same = loaded.device == parameter.device and loaded.dtype == parameter.dtype
            if not parameter.requires_grad and same and torch.equal(loaded, parameter):
                parameter.data = loaded.data
                member.shares = True


def crews(
    members: Sequence[TrainingSession], probe: bool = False, neighbours: int = 1
) -> list[FusedGroup | TrainingSession]:
    """Sort members into crews that share passes, and those that compute alone.

    Args:
        members: in training.
        probe: whether crews find out first if sharing is faster.
        neighbours: how many processes share the memory, this one included.
    """
    alone: list[FusedGroup | TrainingSession] = []
    trunks: list[tuple[list[TrainingSession], _Trunk]] = []
    for member in members:
        if not packs(member):
            alone.append(member)
            continue
        own = _Trunk.of(member)
        for group, trunk in trunks:
            if trunk.joins(own):
                group.append(member)
                break
        else:
            trunks.append(([member], own))
    found: list[FusedGroup | TrainingSession] = []
    for group, _ in trunks:
        # Those that are treated alike stand together, so that one product serves them.
        parts = _that_fit(sorted(group, key=_low_rank, reverse=True), neighbours)
        found += [FusedGroup(part, SpeedCheck(part) if probe else None) if len(part) > 1 else part[0] for part in parts]
    return [*found, *alone]


def _that_fit(members: Sequence[TrainingSession], neighbours: int) -> Iterator[list[TrainingSession]]:
    """Cut members of one trunk into parts whose passes fit into memory."""
    first = members[0]
    longest = max(int(member.train.tokens.lengths.max()) for member in members)
    limit = most_tokens(bare(first).config, first.device, first.config.precision, longest) / neighbours
    part: list[TrainingSession] = []
    size = 0
    for member in members:
        own = member.config.batch_size * int(member.train.tokens.lengths.max())
        if part and size + own > limit:
            yield part
            part, size = [], 0
        part.append(member)
        size += own
    yield part


@dataclass
class _Trunk:
    """What members of a crew have in common.

    Attributes:
        kind: device, precision, pooling and the names of the layers.
        places: where frozen tensors of the pretrained layers lie, by name.
    """

    kind: tuple[Any, ...]
    places: dict[str, int]

    @classmethod
    def of(cls, member: TrainingSession) -> _Trunk:
        layers = leaves(bare(member))
        names = tuple(name for name, _ in layers)
        places = {
            f"{name}.{leaf}": parameter.data_ptr()
            for name, layer in layers
            for leaf, parameter in base(layer).named_parameters()
            if not parameter.requires_grad
        }
        return cls((member.device, member.config.precision, member.classifier.pooling, names), places)

    def joins(self, other: _Trunk) -> bool:
        """Take in another member's, if what both leave frozen is the same."""
        if self.kind != other.kind or any(self.places.get(name, at) != at for name, at in other.places.items()):
            return False
        self.places |= other.places
        return True


def _low_rank(member: TrainingSession) -> bool:
    return any(treatment(layer) == LOW_RANK for _, layer in leaves(bare(member)))


def bare(member: TrainingSession) -> Any:
    """The backbone without PEFT's wrapper around it; adapted layers stay in it."""
    backbone: Any = member.classifier.backbone
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def leaves(backbone: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of a backbone that have parameters, by the names that they had before they were adapted."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found = []
    for name, child in backbone.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, BaseTunerLayer) or child._parameters:
            found.append((path, child))
        else:
            found += leaves(child, f"{path}.")
    return found


def _packed(backbones: Sequence[Any], step: SharedPass) -> Any:
    """A backbone of the same tensors, whose layers know all members.

    Args:
        backbones: the members' own.
        step: the pass under way.
    """
    first = backbones[0]
    # Copied are modules and settings; every tensor stays the one that the members have.
    tensors = {id(tensor): tensor for tensor in (*first.parameters(), *first.buffers())}
    packed: Any = copy.deepcopy(first, memo=tensors)
    register()
    packed.config._attn_implementation = NAME
    for name, _ in leaves(first):
        layers = [backbone.get_submodule(name) for backbone in backbones]
        if any(treatment(layer) != "shared" for layer in layers):
            _put(packed, name, FusedLayer(step, layers))
    for name, module in first.named_modules():
        if isinstance(module, nn.Dropout) and _has(packed, name):
            own = [backbone.get_submodule(name) for backbone in backbones]
            _put(packed, name, FusedDropout(step, {k: each.p if each.training else 0.0 for k, each in enumerate(own)}))
    know(packed, backbones, step)
    packed.config.use_cache = False
    if getattr(packed, "pooler", None) is not None:
        packed.pooler = None  # it would read the first token of the pass; what it gives nobody uses
    return packed.train()


def _put(backbone: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(backbone.get_submodule(parent), leaf, module)


def _has(backbone: nn.Module, name: str) -> bool:
    """Whether a module is still there: a dropout inside an adapter went with it."""
    try:
        backbone.get_submodule(name)
    except AttributeError:
        return False
    return True
