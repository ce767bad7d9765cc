"""The training loop: members in turns equal solo runs, steps, schedules, early stopping, failures, checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.metric import better
from harness.config.instantiate import build
from harness.config.schema import TrainConfig
from harness.data.examples import Examples
from harness.methods import Hooks
from harness.models.inference import predict_all
from harness.records.files import read_jsonl
from harness.runs.gradient import make_session
from harness.runs.prepare import PreparedRun
from harness.tasks.text_classification.metrics import METRICS
from harness.training.loop import fit, predict
from harness.training.optimizer import make_optimizer, rate
from harness.training.row_order import epoch_order, stream_seed
from harness.training.session import TrainingSession
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import spec

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def session(
    tmp_path: Path, cache: Path, method: str = "lora", lines: list[str] | None = None, **changes: Any
) -> TrainingSession:
    """Make one member on the small data set, as a run does."""
    composed = config(tmp_path, cache, method, **changes)
    planned = spec(composed, tmp_path / "run", phase="tune")
    planned.paths.directory.mkdir(exist_ok=True)
    context = PreparedRun.load(planned, (lines if lines is not None else []).append, lambda: None)
    data = context.data
    built, _ = make_session(context, build(composed["method"]), context.train, data.train, data.validation, "all", {})
    built.metrics_path = built.checkpoint_path = None
    return built


def weights(of: TrainingSession) -> dict[str, torch.Tensor]:
    """Copy a member's trainable weights."""
    return {name: p.detach().clone() for name, p in of.network.trainable().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_sessions_in_turns_equal_solo_runs(tmp_path: Path, cache: Path) -> None:
    """Three members with their own methods, rates, seeds, batches and lengths end as each does alone, bit for bit."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("lora", {"seed": 1, "train__lr": 3e-3}),
        ("bitfit", {"seed": 2, "train__epochs": 1, "train__batch_size": 4}),
        ("adalora", {"seed": 3, "train__accumulate": 2, "train__batch_size": 4, "train__epochs": 3}),
    ]
    together = [session(tmp_path, cache, method, **changes) for method, changes in kinds]
    fit(together)
    for (method, changes), joint in zip(kinds, together, strict=True):
        alone = session(tmp_path, cache, method, **changes)
        fit([alone])
        assert joint.status == alone.status == "done"
        assert same(weights(joint), weights(alone)), method
        assert joint.progress.val == alone.progress.val
        assert joint.progress.train_loss == alone.progress.train_loss


def test_session_that_fails_leaves_the_others_unharmed(tmp_path: Path, cache: Path) -> None:
    """A member whose loss is not finite leaves with an error naming step and rate; another ends as it does alone."""
    bad = session(tmp_path, cache, "full", train__lr=1e30, train__clip=0.0)
    good = session(tmp_path, cache, "lora", seed=4)
    fit([bad, good])
    assert bad.status == "failed" and "non-finite at step" in str(bad.failure) and "train.lr=1e+30" in str(bad.failure)
    alone = session(tmp_path, cache, "lora", seed=4)
    fit([alone])
    assert good.status == "done" and same(weights(good), weights(alone))


# Those with a state, a start or random numbers of their own besides the weights.
@pytest.mark.parametrize("method", ["lora", "adalora", "full", "gradual_unfreezing", "setfit", "eva", "pissa", "pvera"])
def test_going_on_from_any_step_equals_going_through(method: str, tmp_path: Path, cache: Path) -> None:
    """Stopped after each number of steps, also within an epoch, a member goes on to the same weights, bit for bit."""
    whole = session(tmp_path, cache, method)
    fit([whole])
    for steps in (1, 5):
        halted = session(tmp_path, cache, method)
        halted.checkpoint_path = tmp_path / f"{method}{steps}.safetensors"
        countdown = iter([False] * (steps - 1))
        fit([halted], lambda left=countdown: next(left, True))  # type: ignore[misc]
        assert halted.status == "stopped" and halted.progress.step == steps
        torch.manual_seed(99)  # what happens to the process in between does not matter
        resumed = session(tmp_path, cache, method)
        resumed.checkpoint_path = halted.checkpoint_path
        fit([resumed])
        assert resumed.progress.resumes == 1
        assert same(weights(resumed), weights(whole))
        assert resumed.progress.val == whole.progress.val and resumed.progress.train_loss == whole.progress.train_loss


def test_accumulation_equals_the_larger_batch(tmp_path: Path, cache: Path) -> None:
    """Without dropout two batches of 4 make the step of one batch of 8, up to rounding; so does a short last step."""
    options: dict[str, Any] = {"train__dropout": 0.0, "method__config__lora_dropout": 0.0, "train__epochs": 1}
    large = session(tmp_path, cache, **options, train__batch_size=8)
    small = session(tmp_path, cache, **options, train__batch_size=4, train__accumulate=2)
    fit([large, small])
    assert large.progress.step == small.progress.step == 4
    for name, tensor in weights(large).items():
        torch.testing.assert_close(weights(small)[name], tensor, atol=2e-5, rtol=1e-3)


def test_epoch_visits_every_row_once_in_batches_of_similar_length() -> None:
    """Each epoch is a permutation, fixed by seed and epoch; batches hold similar lengths; steps hold the product."""
    lengths = np.random.default_rng(0).integers(5, 60, 1000)
    steps = epoch_order(lengths, 8, 2, seed=3, epoch=1)
    flat = np.concatenate([rows for step in steps for rows in step])
    assert sorted(flat) == list(range(1000))
    assert {sum(map(len, step)) for step in steps} == {16, 1000 % 16}
    padded = sum(lengths[rows].max() * len(rows) for step in steps for rows in step)
    assert padded < 1.15 * lengths.sum()
    again = epoch_order(lengths, 8, 2, seed=3, epoch=1)
    assert all(
        np.array_equal(a, b) for one, two in zip(steps, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not np.array_equal(flat[:16], np.concatenate(epoch_order(lengths, 8, 2, seed=3, epoch=2)[0]))
    firsts = [lengths[step[0]].mean() for step in steps]
    assert abs(np.corrcoef(firsts, range(len(firsts)))[0, 1]) < 0.3  # no drift from short to long


def test_streams_differ_by_seed_and_name() -> None:
    """Streams of randomness are functions of seed and names, and do not collide."""
    values = {
        stream_seed(seed, name, epoch) for seed in range(5) for name in ("order", "dropout") for epoch in range(5)
    }
    assert len(values) == 50


def test_schedules() -> None:
    """The rate rises linearly over the warm-up, then falls to nearly 0, along a line or a half cosine, or stays."""
    for schedule in ("linear", "cosine", "constant"):
        rates = [rate(step, 100, 0.1, schedule) for step in range(100)]
        assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
        assert max(rates) == 1.0
        assert rates[-1] == (1.0 if schedule == "constant" else pytest.approx(0.0, abs=0.02))
    assert rate(0, 1, 0.06, "linear") == 1.0


def test_optimizer_groups(tmp_path: Path, cache: Path) -> None:
    """The head has its own rate; biases, norms and vectors of factors do not decay."""
    built = session(tmp_path, cache, "full", train__lr=1e-4, train__head_lr=5e-3, train__weight_decay=0.02)
    groups = make_optimizer(built.network, built.config, built.hooks).param_groups
    by_rate = {(group["lr"], group["weight_decay"]): sum(p.numel() for p in group["params"]) for group in groups}
    assert by_rate[(5e-3, 0.02)] == 3 * 384 and by_rate[(5e-3, 0.0)] == 3
    assert set(by_rate) == {(5e-3, 0.02), (5e-3, 0.0), (1e-4, 0.02), (1e-4, 0.0)}
    assert all(p.ndim == 1 for group in groups if group["weight_decay"] == 0.0 for p in group["params"])


def test_best_epoch_is_restored(tmp_path: Path, cache: Path) -> None:
    """When a later epoch is worse, the member ends with the weights of the best one, and says which."""
    built = session(
        tmp_path, cache, "full", train__lr=1e-2, train__epochs=3, train__schedule="constant", train__warmup=0.0
    )
    built.metrics_path = tmp_path / "metrics.jsonl"
    fit([built])
    lines = read_jsonl(built.metrics_path)
    ranked = sorted(lines, key=lambda line: (-line["val"]["accuracy"], line["val"]["loss"]))
    assert built.progress.best_epoch == ranked[0]["epoch"] and built.progress.best_val == ranked[0]["val"]
    assert built.validation is not None
    probabilities = predict(built.network, built.task, built.validation, built.config, CPU)
    assert METRICS["loss"].value(built.validation.targets, probabilities) == ranked[0]["val"]["loss"]


def test_patience_ends_training(tmp_path: Path, cache: Path) -> None:
    """With patience 1, training ends at the first epoch that is not better."""
    built = session(
        tmp_path, cache, "full", train__lr=2e-2, train__epochs=8, train__patience=1, train__schedule="constant"
    )
    fit([built])
    assert built.status == "done" and built.progress.epoch == built.progress.best_epoch + 1 < 8


def test_stop_epoch_keeps_the_schedule(tmp_path: Path, cache: Path) -> None:
    """`stop_epoch` ends training early on the schedule of all epochs: its first epoch is that of the longer run."""
    short, long = (
        session(tmp_path, cache, train__epochs=2, train__stop_epoch=1),
        session(tmp_path, cache, train__epochs=2),
    )
    first: list[float] = []
    long.say = lambda line: first.append(long.progress.train_loss or 0.0)
    fit([short, long])
    assert short.progress.epoch == 1 and long.progress.epoch == 2
    assert short.progress.train_loss == first[0]


def test_ties_go_to_the_lower_loss_and_missing_values_are_worst() -> None:
    """Of epochs with equal metrics the one with the lower loss is better; one without a value never is."""
    accuracy = METRICS["accuracy"]
    assert better(accuracy, {"accuracy": 0.8, "loss": 0.4}, {"accuracy": 0.8, "loss": 0.5})
    assert not better(accuracy, {"accuracy": 0.8, "loss": 0.5}, {"accuracy": 0.8, "loss": 0.5})
    assert better(accuracy, {"accuracy": 0.1, "loss": 9.0}, {"accuracy": None, "loss": 0.5})
    assert not better(accuracy, {"accuracy": None, "loss": 0.1}, {"accuracy": 0.1, "loss": 0.5})
    assert better(METRICS["ece"], {"ece": 0.1, "loss": 1.0}, {"ece": 0.2, "loss": 0.5})


def test_frozen_trunk_stays_in_eval_mode(tmp_path: Path, cache: Path) -> None:
    """A backbone without trainable parameters does not drop out while its head trains; one with an adapter does."""
    adapted = session(tmp_path, cache, "lora")
    adapted.network.train()
    assert adapted.network.backbone.training
    adapted.network.requires_grad_(False)
    adapted.network.unfreeze_head()
    adapted.network.train()
    assert not adapted.network.backbone.training and adapted.network.training


def test_bf16_trains(tmp_path: Path, cache: Path) -> None:
    """Under bf16 autocast a run ends with float32 weights near those of fp32."""
    built = session(tmp_path, cache, train__precision="bf16", train__epochs=1)
    fit([built])
    assert (
        built.status == "done" and built.progress.val["accuracy"] is not None and built.progress.val["accuracy"] > 0.8
    )
    assert {p.dtype for p in weights(built).values()} == {torch.float32}


def test_label_smoothing_and_penalty_reach_the_gradient(tmp_path: Path, cache: Path) -> None:
    """Label smoothing changes the weights; so does a method's penalty, without showing in the printed loss."""

    class Ridge(Hooks):
        def __init__(self, of: TrainingSession) -> None:
            self.of = of

        def penalty(self) -> torch.Tensor:
            return 10.0 * sum((p.square().sum() for _, p in self.of.network.head_parameters()), torch.tensor(0.0))

    plain, smooth, ridge = (
        session(tmp_path, cache),
        session(tmp_path, cache, train__label_smoothing=0.2),
        session(tmp_path, cache),
    )
    ridge.hooks = Ridge(ridge)
    fit([plain, smooth, ridge])
    assert not same(weights(plain), weights(smooth)) and not same(weights(plain), weights(ridge))
    assert ridge.network.head is not None and plain.network.head is not None
    assert ridge.network.head.weight.norm() < plain.network.head.weight.norm()


def test_padding_and_order_do_not_change_outputs(tmp_path: Path, cache: Path) -> None:
    """Rows evaluated in batches of any size give the same outputs, in the order of the rows."""
    built = session(tmp_path, cache)
    built.network.eval()
    one, many = (predict_all(built.network, built.train, size, CPU, "fp32") for size in (1, 7))
    assert one.shape == (30, 3)
    np.testing.assert_allclose(one, many, atol=2e-5)
    first = Examples(built.train.tokens, built.train.targets, built.train.padding).batch(np.array([3]), CPU)
    with torch.no_grad():
        np.testing.assert_allclose(built.network(first).numpy()[0], one[3], atol=2e-5)


def test_training_without_validation_keeps_the_last_epoch(tmp_path: Path, cache: Path) -> None:
    """Where nothing can choose, the last epoch stays, and the line has no dev part."""
    lines: list[str] = []
    built = replace(session(tmp_path, cache, lines=lines), validation=None, config=TrainConfig(epochs=2, batch_size=8))
    fit([built])
    assert built.progress.best_epoch == 2 and built.progress.val == {}
    assert lines[-1].startswith("Epoch 2, train loss: ") and "dev" not in lines[-1]
