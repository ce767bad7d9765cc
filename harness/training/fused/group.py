"""Groups of training sessions that share passes, and the fused backbone that computes them."""

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
from harness.models.pretrained import LANGUAGE, TOKENS
from harness.models.retrieval.retrieval_network import RetrievalNetwork
from harness.training.fused.attention import NAME, FusedDropout, know, register
from harness.training.fused.layers import LOW_RANK, SHARED, FusedLayer, base, treatment
from harness.training.fused.layout import Layout
from harness.training.fused.memory import most_tokens
from harness.training.fused.shared_pass import SharedPass
from harness.training.fused.speed_check import SpeedCheck
from harness.training.session import TrainingSession


class FusedGroup:
    """Training sessions whose next batches are computed in one pass through one backbone.

    Each session keeps its own network. The shared pass uses the sessions' adapter and head tensors directly and
    accumulates gradients in them, so optimizers, checkpoints, hooks and evaluation are the same as without fusion.

    Args:
        sessions: K sessions, all of which `is_fusable` accepts, on the same frozen backbone.
        probe: decides whether the first rounds are shared; None shares all rounds.
    """

    def __init__(self, sessions: Sequence[TrainingSession], probe: SpeedCheck | None) -> None:
        self.sessions = sessions
        self.probe = probe
        self.broken = False
        self.step = SharedPass(sessions)
        self.backbone = _fused_backbone([bare(session) for session in sessions], self.step)

    @property
    def shares(self) -> bool:
        """True if the next round is computed in one shared pass."""
        return not self.broken and (self.probe is None or self.probe.shares)

    def clock(self) -> float:
        """Return the time in seconds; while the speed check measures, wait for the device to finish first."""
        device = self.sessions[0].device
        if device.type == "cuda" and self.probe is not None and self.probe.measures:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def ungroup(self, error: Exception) -> None:
        """Stop sharing passes after one failed, for lack of memory or because of an error, and notify the sessions."""
        self.broken = True
        for session in self.sessions:
            session.say(f"Note: a fused pass failed; its runs continue separately ({type(error).__name__}: {error}).")

    def note(self, shared: bool, seconds: float) -> list[float]:
        """Record the duration of a round; return each session's fraction of its tokens."""
        tokens = [session.next_tokens() for session in self.sessions]
        if self.probe is not None:
            self.probe.note(shared, seconds, sum(tokens))
        for session in self.sessions if shared else ():
            session.largest_group = max(session.largest_group, len(self.sessions))
        return [own / sum(tokens) for own in tokens]

    def losses(self) -> list[Tensor]:
        """Return the mean loss of each session's next batch; all losses share one graph, for one backward pass."""
        first = self.sessions[0]
        batches = [(session.train, session.next_rows()) for session in self.sessions]
        layout = Layout.of(batches, first.device)
        writes = first.network.pooling == LANGUAGE
        settings: Any = self.backbone.config
        inputs = {
            "input_ids": layout.ids,
            "position_ids": layout.positions + FIRST_POSITION[settings.model_type](settings),
        }
        if layout.types is not None:
            inputs["token_type_ids"] = layout.types
        with self.step.going(layout), autocast(first.device, first.config.precision):
            trunk = self.backbone.base_model if writes else self.backbone
            hidden = trunk(**inputs).last_hidden_state
            if writes:
                smoothing = [session.config.label_smoothing for session in self.sessions]
                outputs = token_losses(self.backbone.get_output_embeddings(), hidden[0], layout, smoothing)
        if not writes:
            by_row = layout.by_row(widened(hidden)[0])
            outputs = functional.normalize(pool(by_row, layout.mask, first.network.pooling), dim=-1)
        losses = []
        for session, (examples, rows), mine in zip(self.sessions, batches, layout.rows, strict=True):
            own = outputs[mine] if writes else session.network.apply_head(outputs[mine])
            targets = session.task.targets(examples.targets[rows]).to(first.device)
            losses.append(session.objective.of_outputs(own, targets))
        return losses


def token_losses(head: Any, hidden: Tensor, layout: Layout, smoothing: Sequence[float]) -> Tensor:
    """Return what `LanguageModel` returns for each row: the sum of its tokens' losses, and their number, (N, 2).

    Args:
        head: the language-modelling head, which no session adapts.
        hidden: (T, d).
        layout: with trained tokens.
        smoothing: K, of each session: share of a target that is spread over the vocabulary.
    """
    predicted = layout.predicted
    logits = widened(head(hidden.index_select(0, predicted - 1)))  # a token is predicted from the one before it
    targets, rows = layout.ids[0, predicted], layout.row_of(predicted)
    losses = functional.cross_entropy(logits, targets, reduction="none")
    if any(smoothing):
        shares = losses.new_zeros(len(layout.mask))
        for share, own in zip(smoothing, layout.rows, strict=True):
            shares[own] = share
        # The mean over the vocabulary of all negative log likelihoods, by that of the target.
        evenly = losses + logits.gather(1, targets[:, None])[:, 0] - logits.mean(dim=1)
        losses = torch.lerp(losses, evenly, shares[rows])
    pairs = torch.stack([losses, torch.ones_like(losses)], dim=1)
    return pairs.new_zeros(len(layout.mask), 2).index_add(0, rows, pairs)


def is_fusable(session: TrainingSession) -> bool:
    """Return whether a session can share passes: its loss needs one plain pass, and all its layers can be fused."""
    backbone, hooks = bare(session), session.hooks
    adapters = getattr(session.network.backbone, "peft_config", {}).values()
    return (
        session.device.type in ("cpu", "cuda")  # other devices have no per-session random stream
        and type(hooks).loss is Hooks.loss
        and session.objective.plain
        and session.network.pooling != TOKENS  # a shared pass pools each row into one vector
        and not isinstance(session.network, RetrievalNetwork)  # whose batches have passages besides
        and (session.network.head is not None or _writes_alike(session))
        and getattr(backbone.config, "model_type", None) in FIRST_POSITION
        and not any(getattr(adapter, "is_prompt_learning", False) for adapter in adapters)
        and not _has_full_copies(backbone)
        and all(treatment(layer) is not None for _, layer in leaves(backbone))
    )


def _has_full_copies(backbone: nn.Module) -> bool:
    """Return whether PEFT wraps layers that are trained in full (`modules_to_save`): no leaves of the backbone."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    return any(isinstance(module, AuxiliaryTrainingWrapper) for module in backbone.modules())


def _writes_alike(session: TrainingSession) -> bool:
    """Return whether a session predicts tokens by the pretrained head alone, as all sessions of its group do."""
    if session.network.pooling != LANGUAGE:
        return False
    backbone = bare(session)
    head = backbone.get_output_embeddings()
    return head is not None and treatment(head) == SHARED and not getattr(backbone.config, "final_logit_softcapping", 0)


@torch.no_grad()
def share(session: TrainingSession, pretrained: nn.Module) -> None:
    """Replace a fusable session's copies of frozen tensors by the pretrained backbone's own tensors, to save memory.

    Args:
        session: a session before its first step.
        pretrained: the backbone that the session's was copied from. Tensors that an adapter changed are not replaced.
    """
    if not is_fusable(session):
        return
    for name, layer in leaves(bare(session)):
        original = pretrained.get_submodule(name)
        for leaf, parameter in base(layer).named_parameters():
            loaded = original.get_parameter(leaf)
            same = loaded.device == parameter.device and loaded.dtype == parameter.dtype
            if not parameter.requires_grad and same and torch.equal(loaded, parameter):
                parameter.data = loaded.data
                session.shares = True


def fused_groups(
    sessions: Sequence[TrainingSession], probe: bool = False, co_located: int = 1
) -> list[FusedGroup | TrainingSession]:
    """Group sessions that can share passes; the others compute alone.

    Args:
        sessions: sessions in training.
        probe: whether groups first measure if sharing is faster.
        co_located: number of co-located processes that share the memory, this one included.
    """
    alone: list[FusedGroup | TrainingSession] = []
    trunks: list[tuple[list[TrainingSession], _Trunk]] = []
    for session in sessions:
        if not is_fusable(session):
            alone.append(session)
            continue
        own = _Trunk.of(session)
        for group, trunk in trunks:
            if trunk.joins(own):
                group.append(session)
                break
        else:
            trunks.append(([session], own))
    found: list[FusedGroup | TrainingSession] = []
    for group, _ in trunks:
        # Sessions of the same treatment are adjacent, so that one matrix product serves them.
        parts = _groups_that_fit(sorted(group, key=_low_rank, reverse=True), co_located)
        found += [FusedGroup(part, SpeedCheck(part) if probe else None) if len(part) > 1 else part[0] for part in parts]
    return [*found, *alone]


def _groups_that_fit(sessions: Sequence[TrainingSession], co_located: int) -> Iterator[list[TrainingSession]]:
    """Split sessions on the same frozen backbone into parts whose shared passes fit into memory."""
    first = sessions[0]
    longest = max(int(session.train.tokens.lengths.max()) for session in sessions)
    writes = first.network.pooling == LANGUAGE
    limit = most_tokens(bare(first).config, first.device, first.config.precision, longest, writes) / co_located
    part: list[TrainingSession] = []
    size = 0
    for session in sessions:
        own = session.config.batch_size * int(session.train.tokens.lengths.max())
        if part and size + own > limit:
            yield part
            part, size = [], 0
        part.append(session)
        size += own
    yield part


@dataclass
class _Trunk:
    """What the sessions of a group must have in common.

    Attributes:
        kind: device, precision, pooling and the names of the layers.
        places: addresses of the frozen tensors of the pretrained layers, by name.
    """

    kind: tuple[Any, ...]
    places: dict[str, int]

    @classmethod
    def of(cls, session: TrainingSession) -> _Trunk:
        layers = leaves(bare(session))
        names = tuple(name for name, _ in layers)
        places = {
            f"{name}.{leaf}": parameter.data_ptr()
            for name, layer in layers
            for leaf, parameter in base(layer).named_parameters()
            if not parameter.requires_grad
        }
        return cls((session.device, session.config.precision, session.network.pooling, names), places)

    def joins(self, other: _Trunk) -> bool:
        """Add another session's tensors and return True, if both have the same frozen tensors; else return False."""
        if self.kind != other.kind or any(self.places.get(name, at) != at for name, at in other.places.items()):
            return False
        self.places |= other.places
        return True


def _low_rank(session: TrainingSession) -> bool:
    return any(treatment(layer) == LOW_RANK for _, layer in leaves(bare(session)))


def bare(session: TrainingSession) -> Any:
    """Return the backbone without PEFT's outer wrapper; its adapted layers stay in place."""
    backbone: Any = session.network.backbone
    return backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone


def leaves(backbone: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """List the layers of a backbone that have parameters, with their names before adaptation."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found = []
    for name, child in backbone.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, BaseTunerLayer) or child._parameters:
            found.append((path, child))
        else:
            found += leaves(child, f"{path}.")
    return found


def _fused_backbone(backbones: Sequence[Any], step: SharedPass) -> Any:
    """Build the fused backbone: it uses the sessions' tensors, and its layers compute for all sessions.

    Args:
        backbones: the sessions' backbones.
        step: the shared pass.
    """
    first = backbones[0]
    # The memo keeps tensors from being copied: only modules and settings are.
    tensors = {id(tensor): tensor for tensor in (*first.parameters(), *first.buffers())}
    fused: Any = copy.deepcopy(first, memo=tensors)
    register()
    fused.config._attn_implementation = NAME
    for name, _ in leaves(first):
        layers = [backbone.get_submodule(name) for backbone in backbones]
        if any(treatment(layer) != SHARED for layer in layers):
            _put(fused, name, FusedLayer(step, layers))
    for name, module in first.named_modules():
        if isinstance(module, nn.Dropout) and _has(fused, name):
            own = [backbone.get_submodule(name) for backbone in backbones]
            _put(fused, name, FusedDropout(step, {k: each.p if each.training else 0.0 for k, each in enumerate(own)}))
    know(fused, backbones, step)
    fused.config.use_cache = False
    if getattr(fused, "pooler", None) is not None:
        fused.pooler = None  # its input would be the first token of the pass; its output is unused
    return fused.train()


def _put(backbone: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(backbone.get_submodule(parent), leaf, module)


def _has(backbone: nn.Module, name: str) -> bool:
    """Return whether a module still exists: a dropout inside a replaced adapter layer is gone."""
    try:
        backbone.get_submodule(name)
    except AttributeError:
        return False
    return True
