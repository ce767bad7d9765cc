"""What happens to one member of a crew leaves the others unharmed; what it keeps is as a run alone keeps it."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.instantiate import build
from harness.methods import GradientTrained
from harness.methods.catalogue import catalogue
from harness.training.fused import FusedGroup, fused_groups
from harness.training.fused.speed_check import VERDICTS
from harness.training.loop import fit
from harness.training.session import TrainingSession
from tests.helpers.small_dataset import ROOT
from tests.helpers.training_sessions import CPU, Setting, distance, make, pretrained
from tests.methods.test_matrix import SETTINGS

THREE = [Setting("lora", seed=1), Setting("ia3", seed=2), Setting("lora", {"r": 4}, {"epochs": 5}, seed=3)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trains(overlay: dict[str, Any]) -> bool:
    """Whether a method is trained by the loop."""
    texts = "text" in overlay["method"]["about"].get("inputs", ("text",))  # the sessions here are of texts
    return texts and isinstance(build(overlay["method"]), GradientTrained)


def finished(setting: Setting) -> TrainingSession:
    """Train a member alone."""
    session = make(setting, pretrained())
    fit([session])
    return session


def test_session_that_fails_leaves_and_the_others_end_as_alone() -> None:
    """A loss that is not finite ends one member, with an error that names step and rate; nobody else sees it."""
    bad = Setting("lora", train={"lr": 1e200, "clip": 0.0}, seed=9)
    together = [make(setting, pretrained()) for setting in (THREE[0], bad, THREE[2])]
    fit(together, sharing="always")
    assert together[1].status == "failed"
    assert "non-finite at step" in str(together[1].failure) and "train.lr=1e+200" in str(together[1].failure)
    for session, setting in ((together[0], THREE[0]), (together[2], THREE[2])):
        assert session.status == "done" and session.largest_group == 3
        assert distance(session, finished(setting)) < 1e-9


def test_sessions_go_on_from_their_checkpoints_in_another_group(tmp_path: Path) -> None:
    """Stopped within an epoch, members go on in other company, or alone, and end as without a stop."""

    def built(k: int) -> TrainingSession:
        session = make(THREE[k], pretrained())
        session.checkpoint_path = tmp_path / f"{k}.safetensors"
        return session

    halted = [built(k) for k in range(3)]
    countdown = iter([False] * (3 * 13))
    fit(halted, lambda: next(countdown, True), sharing="always")
    assert {session.status for session in halted} == {"stopped"}
    stranger = make(Setting("lora", {"r": 16}, seed=7), pretrained())
    resumed = [built(k) for k in range(3)]
    fit([resumed[0], stranger, resumed[2]], sharing="always")
    fit([resumed[1]])
    for k, session in enumerate(resumed):
        assert session.progress.resumes == 1
        assert distance(session, finished(THREE[k])) < 1e-9


@pytest.mark.parametrize("method", [name for name, each in catalogue(ROOT / "conf/method").items() if trains(each)])
def test_methods_that_can_share_passes_say_so(method: str) -> None:
    """The coordinator goes by what is written, before any model is there; a crew by the layers themselves."""
    told = bool(catalogue(ROOT / "conf/method")[method]["method"]["about"].get("fusable"))
    one, other = (
        make(Setting(method, SETTINGS.get(method, {}), seed=n), pretrained(dtype=torch.float32)) for n in (1, 2)
    )
    assert any(isinstance(unit, FusedGroup) for unit in fused_groups([one, other])) == told


def test_who_ends_is_followed_at_once() -> None:
    """A member that ends gives its place in the crew to the one that its run wants trained next."""
    backbone = pretrained()
    follower = make(THREE[1], backbone)
    following = [follower]
    together = [make(Setting("lora", train={"epochs": 2}, seed=5), backbone), make(THREE[0], backbone)]
    fit(together, sharing="always", ended=lambda session: following.pop() if following else None)
    assert [session.status for session in (*together, follower)] == ["done"] * 3
    assert follower.largest_group == 2
    assert distance(together[1], finished(THREE[0])) < 1e-9
    assert distance(follower, finished(THREE[1])) < 1e-9


def test_sessions_hold_one_backbone() -> None:
    """The frozen tensors of all members are the pretrained ones, in memory once; the rest is each member's own."""
    backbone = pretrained()
    together = [make(Setting("lora", seed=seed), backbone) for seed in range(8)]
    places = {p.data_ptr() for session in together for p in session.network.parameters() if not p.requires_grad}
    assert places <= {p.data_ptr() for p in backbone.parameters()}


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_biases_that_train_beside_factors_are_each_sessions_own(dropout: float) -> None:
    """PEFT lets LoRA train the biases of the layers that it wraps: no one product serves several of those."""
    settings = [Setting("lora", {"bias": "all", "lora_dropout": dropout}, seed=seed) for seed in (1, 2)]
    settings.append(Setting("lora", seed=3))
    backbone = pretrained()
    together = [make(setting, backbone) for setting in settings]
    fit(together, sharing="always")
    for setting, session in zip(settings, together, strict=True):
        assert session.failure is None
        assert distance(session, finished(setting)) < 1e-9


def test_a_layer_that_is_trained_whole_beside_the_adapter_computes_alone() -> None:
    """PEFT's `modules_to_save` puts a copy in its place."""
    session = make(Setting("lora", {"modules_to_save": ["LayerNorm"]}), pretrained())
    assert all(isinstance(unit, TrainingSession) for unit in fused_groups([session, make(THREE[0], pretrained())]))
    fit([session])
    assert session.failure is None


@pytest.mark.parametrize("sharing", [None, "always"])
def test_who_has_ended_is_let_go_before_the_next_is_made(sharing: str | None) -> None:
    """Its weights and its optimizer's moments would stand in memory beside those of its successor."""
    backbone = pretrained()
    successors = [make(Setting("lora", seed=seed), backbone) for seed in (3, 4)]
    held = []

    def ended(session: TrainingSession) -> TrainingSession | None:
        ghost = weakref.ref(session.parameters[0])
        del session
        held.append(ghost() is not None)
        return successors.pop() if successors else None

    gc.disable()
    try:
        fit((make(Setting("lora", seed=seed), backbone) for seed in (1, 2)), sharing=sharing, ended=ended)
    finally:
        gc.enable()
    assert held == [False] * 4


def test_what_does_not_batch_computes_alone() -> None:
    """Members with another precision, a loss or passes of their own, or all weights in training stay out of crews."""
    settings = [
        *map(Setting, ("full", "prompt_tuning", "houlsby", "last_layers", "pissa", "lora")),
        Setting("lora", train={"r_drop": 1.0, "dropout": 0.1}),
    ]  # fmt: skip
    backbone = pretrained(dtype=torch.float32)
    sessions = [make(setting, backbone) for setting in settings]
    bf16 = make(Setting("lora", train={"precision": "bf16"}), backbone)
    assert all(isinstance(unit, TrainingSession) for unit in fused_groups([*sessions, bf16]))


def test_adapter_of_a_group_loads_into_the_library(tmp_path: Path) -> None:
    """What a member saves, `PeftModel.from_pretrained` puts on the pretrained backbone with the same outputs."""
    from peft import PeftModel

    backbone = pretrained()
    together = [make(setting, backbone) for setting in THREE]
    fit(together, sharing="always")
    batch = together[0].train.batch(np.arange(5), CPU)
    for k, session in enumerate(together):
        assert session.hooks.save(session.network, tmp_path / str(k))
        loaded: Any = PeftModel.from_pretrained(copy.deepcopy(backbone), str(tmp_path / str(k))).eval()
        with torch.no_grad():
            torch.testing.assert_close(
                loaded(**batch).last_hidden_state, session.network.eval().backbone(**batch).last_hidden_state
            )


def test_probe_tries_both_ways_and_keeps_to_one() -> None:
    """The first rounds go one way and the other; whichever is faster, the result is that of each member alone."""
    VERDICTS.clear()
    together = [make(setting, pretrained()) for setting in THREE]
    fit(together, sharing="probe")
    assert VERDICTS
    for setting, session in zip(THREE, together, strict=True):
        assert distance(session, finished(setting)) < 1e-9


def test_pass_that_fails_is_told_and_computed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shared pass cannot be computed, members say so and go on alone, none of them the worse for it."""
    lines: list[str] = []
    together = [make(setting, pretrained()) for setting in THREE[:2]]
    together[0].say = lines.append

    def out_of_memory(self: FusedGroup) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(FusedGroup, "losses", out_of_memory)
    fit(together, sharing="always")
    assert "no room" in lines[0]
    assert all(
        session.largest_group == 1 and distance(session, finished(s)) == 0
        for session, s in zip(together, THREE, strict=False)
    )


def test_pass_that_fails_is_let_go_before_sessions_compute_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its graph is not in memory any more, which ran out perhaps; gradients that it left halfway are gone."""
    together = [make(setting, pretrained()) for setting in THREE[:2]]
    held: list[weakref.ref[torch.Tensor]] = []
    losses, backward = FusedGroup.losses, torch.autograd.backward

    def noted(self: FusedGroup) -> list[torch.Tensor]:
        found = losses(self)
        held.extend(map(weakref.ref, found))
        return found

    def out_of_memory(totals: Any) -> None:
        monkeypatch.setattr(torch.autograd, "backward", alone)
        backward(totals)
        raise torch.OutOfMemoryError("no room")

    def alone(total: Any) -> None:
        assert len(held) == 2 and all(loss() is None for loss in held)
        backward(total)

    monkeypatch.setattr(FusedGroup, "losses", noted)
    monkeypatch.setattr(torch.autograd, "backward", out_of_memory)
    fit(together, sharing="always")
    monkeypatch.setattr(torch.autograd, "backward", backward)
    for session, setting in zip(together, THREE, strict=False):
        assert session.failure is None and distance(session, finished(setting)) == 0
