"""Several processes that train one run compute what one computes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from harness.data.examples import Batch, Examples, Rows
from harness.errors import HarnessError
from harness.launch.local.pool import _free_port
from harness.models.language.language_model import LanguageModel
from harness.records.files import read_jsonl
from harness.records.states import SessionStatus, StopRequest
from harness.training import ranks, session_files
from harness.training.loop import _request, attend, fit, gradients
from harness.training.ranks import RankFailed, Ranks, current, join
from harness.training.session import TrainingSession
from tests.helpers import tiny_writers
from tests.helpers.ranks import together
from tests.helpers.training_sessions import Setting, make, pretrained, rows, weights
from tests.tasks.text_generation.test_training import examples, session

EXAMPLES = 18  # the last batch of four has two rows
# What sums differently: dropout (its masks are those of the whole batch), several batches a step, two passes a batch,
# adversarial steps, averaged weights, an adapter with a penalty and with decisions by gradients.
SETTINGS = (
    Setting("lora", train={"epochs": 2, "dropout": 0.1, "accumulate": 2, "weight_decay": 0.1}),
    Setting("full", train={"epochs": 1, "dropout": 0.1, "r_drop": 1.0, "ema": 0.9, "layer_decay": 0.8}),
    Setting("adalora", train={"epochs": 1, "dropout": 0.0, "fgm": 0.1}),
)


Weights = dict[str, npt.NDArray[np.float64]]
RESUMED = SETTINGS[0]
PACKED = (None, 64)
TOLD = {"none": None, "number": 0.1, "text": "\u00e4\n", "list": [1, True]}


def train(setting: Setting, directory: Path, stop_at: int | None = None) -> tuple[Weights, int, int]:
    """Train a member as this process's rank; give its weights, its steps and how often it has resumed."""
    directory.mkdir(exist_ok=True)
    mine = make(setting, pretrained(), (rows(setting.seed, EXAMPLES, 12), rows(99, 16, 12)))
    mine.ranks, mine.checkpoint_path = current(), directory / "all.safetensors"
    if mine.ranks.leads:
        mine.metrics_path = directory / "metrics.jsonl"
        mine.stop = lambda: StopRequest.CHECKPOINT if mine.progress.step == stop_at else None
    fit([mine])
    assert mine.failure is None
    found = {name: value.numpy() for name, value in weights(mine).items()}
    return found, mine.progress.step, mine.progress.resumes


def write(packed: int | None) -> Weights:
    """Train a decoder, on rows of unequal numbers of trained tokens, which may be joined; in float64 throughout."""
    tokens = tiny_writers.tokenizer()
    joined = replace(examples(tokens, False, 10), packed=packed)
    mine = session(LanguageModel(tiny_writers.decoder(tokens, torch.float64)), joined, 2, ranks=current())
    before, torch.Tensor.float = torch.Tensor.float, lambda tensor: tensor  # type: ignore[method-assign]
    try:
        fit([mine])
    finally:
        torch.Tensor.float = before  # type: ignore[method-assign]
    assert mine.failure is None
    return {name: value.numpy() for name, value in weights(mine).items()}


def fail(when: str) -> str:
    """Train; the second rank fails in its second step, in a pass or a sum. Give the failure of this rank."""
    mine = make(SETTINGS[0], pretrained(), (rows(0, EXAMPLES, 12), rows(99, 16, 12)))
    mine.ranks = current()
    owner, name = (mine.network, "features") if when == "pass" else (ranks, "_flat")
    real = getattr(owner, name)

    def failing(given: Any) -> Any:
        if mine.ranks.rank == 1 and mine.progress.step == 1:
            raise HarnessError("this rank has had enough.")
        return real(given)

    setattr(owner, name, failing)
    fit([mine])
    setattr(owner, name, real)
    return str(mine.failure)


@dataclass(frozen=True)
class Found:
    """What one rank computed."""

    trained: list[Weights]  # of `SETTINGS`
    written: list[Weights]  # of `PACKED`
    resumed: tuple[Weights, int, int]
    failures: list[str]  # in a pass, in the sum of gradients
    heard: Any


def everything(directory: Path, stop_at: int) -> Found:
    """Train each setting; train one, that an earlier call may have begun, up to a step; write; fail."""
    for name in ("all_gather_object", "broadcast_object_list"):  # they unpickle what another rank sends
        setattr(torch.distributed, name, None)
    return Found(
        [train(setting, directory / f"{setting.method}{current().size}")[0] for setting in SETTINGS],
        [write(packed) for packed in PACKED],
        train(RESUMED, directory / "resumed", stop_at),
        [fail("pass"), fail("sum")],
        current().from_first(lambda: TOLD),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(place: Path) -> dict[int, list[Found]]:
    """What each of two, then of four ranks computes."""
    return {size: together(size, everything, place, stop_at) for size, stop_at in ((2, 1), (4, 4))}


def distance(one: Weights, other: Weights) -> float:
    return max(float(np.abs(value - other[name]).max()) for name, value in one.items())


def same_curve(one: Path, other: Path) -> None:
    for mine, its in zip(read_jsonl(one / "metrics.jsonl"), read_jsonl(other / "metrics.jsonl"), strict=True):
        assert mine["train_loss"] == pytest.approx(its["train_loss"], abs=1e-9)
        assert mine["val"]["loss"] == pytest.approx(its["val"]["loss"], abs=1e-9)


@pytest.mark.parametrize("number", range(len(SETTINGS)), ids=lambda number: SETTINGS[number].method)
def test_two_and_four_ranks_compute_what_one_does(number: int, found: dict[int, list[Found]], place: Path) -> None:
    """Weights, and losses of training and validation, in float64; all ranks end with the same weights."""
    method = SETTINGS[number].method
    alone, *_ = train(SETTINGS[number], place / f"{method}1")
    for size, of_ranks in found.items():
        own = [each.trained[number] for each in of_ranks]
        assert max(distance(alone, each) for each in own) < 1e-9
        assert all(distance(own[0], each) == 0 for each in own)
        same_curve(place / f"{method}1", place / f"{method}{size}")


def test_tokens_have_one_weight_on_any_number_of_ranks(found: dict[int, list[Found]]) -> None:
    """Rows have unequal numbers of trained tokens, and ranks unequal numbers of rows; joined to sequences or not."""
    alone = [write(packed) for packed in PACKED]
    assert distance(*alone) < 1e-9
    for of_ranks in found.values():
        for each in of_ranks:
            assert max(distance(*pair) for pair in zip(alone, each.written, strict=True)) < 1e-9


def test_another_number_of_ranks_goes_on_from_a_checkpoint(found: dict[int, list[Found]], place: Path) -> None:
    """Two ranks stop in the middle of an epoch when rank 0 is asked to; four, then one, go on."""
    assert [each.resumed[1] for size in found for each in found[size]] == [1, 1, 4, 4, 4, 4]
    whole, *_ = train(RESUMED, place / "whole")
    own, _, resumes = train(RESUMED, place / "resumed")
    assert resumes == 2
    assert distance(whole, own) < 1e-9
    same_curve(place / "whole", place / "resumed")


def test_an_error_of_one_rank_is_one_of_all(found: dict[int, list[Found]]) -> None:
    """Nobody waits, and the others say which rank it was."""
    said = ["Rank 1 of 4: this rank has had enough."] * 4
    said[1] = "this rank has had enough."
    for number in range(2):
        assert [each.failures[number] for each in found[4]] == said
    assert all(each.heard == TOLD for each in found[4])


# From here on, without other processes.


class Lone(Ranks):
    """A rank without others: it counts exchanges and hears only itself, or an error."""

    def __init__(self, rank: int, size: int, hears: Exception | None = None) -> None:
        super().__init__(rank, size)
        self.exchanges, self.hears = 0, hears

    def exchange(self, *words: float, error: Exception | None = None) -> list[list[float]]:
        self.exchanges += 1
        if error or self.hears:
            raise error or self.hears  # type: ignore[misc]
        return [list(words)]


@dataclass(frozen=True)
class Transformed(Examples):
    """Rows with a random transform, which draws a number for each row; `drawn` gets those of the last batch."""

    rowwise: bool = True
    drawn: dict[str, list[float]] = field(default_factory=dict)

    def training_batch(self, rows: Rows, device: torch.device, targets: Tensor) -> tuple[Batch, Tensor]:
        self.drawn["last"] = torch.rand(len(rows)).tolist()
        return super().training_batch(rows, device, targets)


def lone(rank: int, size: int, rowwise: bool = True, count: int = 6) -> TrainingSession:
    plain = rows(0, count, 12)
    train = Transformed(plain.tokens, plain.targets, plain.padding, rowwise=rowwise)
    mine = make(Setting("lora", train={"dropout": 0.0}), pretrained(), (train, plain))
    mine.ranks = Lone(rank, size)
    return mine


def drawn(mine: TrainingSession) -> list[list[float]]:
    """Train the two batches of an epoch; give what their transforms drew."""
    found = []
    for _ in range(2):
        assert gradients(mine) and mine.failure is None
        found.append(mine.train.drawn["last"])  # type: ignore[attr-defined]
        mine.progress.position += 1
        mine.progress.step += 1
    return found


def test_transforms_are_those_of_one_process_or_of_each_rank() -> None:
    """Also after a batch of fewer rows than ranks; where shares are transformed, each rank draws, and no two alike."""
    one, *four = (drawn(lone(rank, size)) for rank, size in ((0, 1), (0, 4), (1, 4), (2, 4), (3, 4)))
    assert sorted(map(len, one)) == [2, 4] and four == [one] * 4
    sessions = [lone(rank, 2, rowwise=False, count=8) for rank in range(2)]
    before = sessions[0].random_state.tensors["cpu"].clone()
    mine, its = map(drawn, sessions)
    assert all(len(each) == 2 for each in mine + its)
    assert len({number for each in mine + its for number in each}) == 8
    assert all(torch.equal(each.random_state.tensors["cpu"], before) for each in sessions)


class Late(Lone):
    """A rank that sees a file later than rank 0 does: `see` is called after each look at which they differ."""

    def __init__(self, see: Callable[[], None]) -> None:
        super().__init__(1, 2)
        self.see = see

    def exchange(self, *words: float, error: Exception | None = None) -> list[list[float]]:
        own = super().exchange(*words, error=error)[0]
        if own != [-1.0]:
            return [own, own]
        self.see()
        return [[7.0], own]


def test_a_rank_waits_for_the_checkpoint_that_rank_0_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system; in the end the run fails, and the message says what is wrong."""
    monkeypatch.setattr(session_files, "LOOK_SECONDS", 0.0)
    earlier, mine = lone(0, 1), lone(1, 2)
    earlier.checkpoint_path = mine.checkpoint_path = tmp_path / "all.safetensors"
    earlier.progress.step = 5
    mine.ranks = Late(lambda: session_files.write_checkpoint(earlier))
    session_files.resume(mine)
    assert mine.progress.step == 5 and mine.ranks.exchanges == 2
    mine.ranks = Late(lambda: earlier.checkpoint_path.unlink(missing_ok=True))  # type: ignore[union-attr]
    earlier.checkpoint_path.unlink()
    with pytest.raises(HarnessError, match="do not see the same checkpoint"):
        session_files.resume(mine)
    assert mine.ranks.exchanges == session_files.LOOKS


def test_ranks_that_do_not_meet_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that is missing, then a port that is taken."""
    monkeypatch.setattr(ranks, "MEETING", timedelta(seconds=1))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    port = _free_port()
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(HarnessError, match=f"(?s)did not meet at 127.0.0.1, port {port},.*SOCKET_IFNAME"):
        join()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(HarnessError, match="Address already in use"):
            join()


def test_ranks_meet_before_they_end(tmp_path: Path) -> None:
    """At a limit, where one may have been taken; after the checkpoint of a stop, which may fail."""
    for rank, request in ((0, StopRequest.TAKEN), (1, None)):
        mine = lone(rank, 2)
        mine.until, mine.progress.rung = 1, 1
        mine.stop = lambda request=request: request  # type: ignore[misc]
        assert _request(mine, False) == (request or StopRequest.PAUSE)
        assert mine.ranks.exchanges == 1  # type: ignore[attr-defined]
    (tmp_path / "file").touch()
    for rank, error, expected in ((0, None, OSError), (1, RankFailed("No space left."), RankFailed)):
        mine = lone(rank, 2)
        mine.ranks, mine.checkpoint_path = Lone(rank, 2, error), tmp_path / "file" / "all.safetensors"
        with pytest.raises(expected):
            attend(mine, StopRequest.PAUSE)
        assert mine.status == SessionStatus.GOING
