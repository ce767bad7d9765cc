"""What a tracker is told of a study's files: each thing once, by one process at a time, and nothing of the machine."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from harness.config.instantiate import build
from harness.records.study_files import RunPaths
from harness.track import Following, Tracked, Tracker
from harness.track import __main__ as command
from harness.track.registry import later
from harness.track.study_follower import Follow, stem
from harness.track.tensorboard import TensorBoard
from harness.track.wandb import WeightsAndBiases
from tests.config.test_configs import composed
from tests.track.conftest import CELL, CONFIG, add, wandb_records

WANDB = {"_target_": "harness.track.wandb.WeightsAndBiases", "name": "wandb"}


@dataclass
class Listening(Tracker):
    """Keeps what it is told."""

    name: str = "listening"
    begun: list[Tracked] = field(default_factory=list)
    epochs: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def begin(self, run: Tracked) -> None:
        self.begun.append(run)

    def epoch(self, run: Tracked, number: int, values: object, seconds: float) -> None:
        self.epochs.append((run.name, number))

    def end(self, run: Tracked, results: object) -> None:
        self.ended.append(run.name)


def look(study: Path, tracker: Tracker, only: str | None = None) -> None:
    """What one process does from its start to its end."""
    follow = Follow(study, tracker, only)
    follow.look()
    follow.close()


def test_no_folder_of_this_machine_is_told(study: Path) -> None:
    """Neither those of a configuration, an augmentation's included, nor one in an error."""
    paths = RunPaths(add(study, "trial0003", 1, "failed", error="OSError: no such file: '/home/some one/data.csv'"))
    augment = {"paraphrase": {"hub": "google/t5", "path": "/home/model", "back_path": "/home/back", "copies": 1}}
    paths.config.write_text(yaml.safe_dump(CONFIG | {"augment": augment}), encoding="utf-8")
    tracker = Listening()
    look(study, tracker, f"{CELL}/trial0003")
    (run,) = tracker.begun
    assert run.config["augment"] == {"paraphrase": {"hub": "google/t5", "copies": 1}}
    assert run.record["error"] == "OSError: no such file"
    assert "/home" not in str(run)
    assert "/somewhere" not in str(run.config)


def test_runs_followed_alone_do_not_wait_for_each_other(study: Path) -> None:
    """Each has a lock and an account of its own; who follows all leaves a run that is held, and tells none twice."""
    one, other = f"{CELL}/trial0000", f"{CELL}/confirm-seed2"
    tracker = Listening()
    held = stem(study, tracker.name, one)
    held.parent.mkdir(parents=True)
    with FileLock(f"{held}.lock"):
        look(study, tracker, other)
        assert tracker.ended == [other]
        look(study, tracker)
        assert one not in tracker.ended
        assert tracker.ended.count(other) == 1
    look(study, tracker)
    assert tracker.ended.count(one) == tracker.ended.count(other) == 1


def test_following_alone_keeps_a_log_and_a_lock_of_that_run(study: Path) -> None:
    """While another single run holds its own lock, this one's tracker ends in its seconds and without a warning."""
    held = stem(study, "tensorboard", f"{CELL}/trial0001")
    held.parent.mkdir(parents=True)
    node = {"_target_": "harness.track.tensorboard.TensorBoard", "name": "tensorboard", "wait_seconds": 60}
    lines: list[str] = []
    with FileLock(f"{held}.lock"), Following() as trackers:
        show = lambda kind, line: lines.append(kind + line)  # noqa: E731 -- as the commands do
        trackers.start({"tensorboard": node}, [], study, show, f"{CELL}/trial0000")
    assert [line for line in lines if line.startswith("Warning")] == []
    assert Path(f"{stem(study, 'tensorboard', f'{CELL}/trial0000')}.json").is_file()


def test_how_to_make_up_for_a_tracker_is_a_command_that_works(study: Path) -> None:
    """It names what differs from the defaults; of a tracker that the command does not know there is none."""
    node = WANDB | {"project": "12 3", "entity": "team", "mode": "offline", "wait_seconds": 60.0}
    sentence = later(study, node)
    words = shlex.split(sentence.partition(": ")[2])
    assert words[:4] == ["python", "-m", "harness.track", str(study)]
    made = command._tracker(words[4], words[5:])
    assert isinstance(made, WeightsAndBiases)
    assert (made.project, made.entity, made.mode) == ("12 3", "team", "offline")
    number = shlex.split(later(study, WANDB | {"project": "123"}))[-2]  # before mode=offline
    assert yaml.safe_load(number.partition("=")[2]) == "123"
    assert later(study, {"_target_": "tests.track.faulty.Faulty"}) == ""


def points(study: Path, name: str) -> list[int]:
    """The steps of a curve over all event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(study / "tensorboard" / CELL / name)).Reload()
    return [point.step for point in events.Scalars("val/accuracy")]


def test_told_again_tensorboard_holds_each_epoch_once(study: Path) -> None:
    """--again takes away the event files that there are."""
    for options in ([], ["--again"]):
        assert command.main([str(study), "tensorboard", *options]) == 0
        assert points(study, "trial0000") == [1, 2]


def test_a_run_that_goes_on_is_gone_on_with_in_tensorboard(study: Path) -> None:
    """A second process sends only the epochs that are new."""
    name = f"{CELL}/trial0002"
    look(study, TensorBoard(), name)
    assert points(study, "trial0002") == [1]
    add(study, "trial0002", 3)
    look(study, TensorBoard(), name)
    assert points(study, "trial0002") == [1, 2, 3]


def test_a_run_that_goes_on_is_gone_on_with_in_wandb(study: Path) -> None:
    """A second process begins the same run of W&B again and sends only the epochs that are new."""
    name = f"{CELL}/trial0002"
    look(study, WeightsAndBiases(mode="offline"), name)
    add(study, "trial0002", 3)
    look(study, WeightsAndBiases(mode="offline"), name)
    ids, epochs = set(), []
    for folder in sorted((study / "wandb").glob("offline-run-*")):
        for record in wandb_records(folder):
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            elif record.WhichOneof("record_type") == "history":
                items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
                epochs.append(int(items["epoch"]))
    assert len(ids) == 1
    assert sorted(epochs) == [1, 2, 3]


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("tracker=none", []),
        ("tracker=wandb", ["wandb"]),
        ("tracker=tensorboard", ["tensorboard"]),
        ("tracker=[wandb,tensorboard]", ["tensorboard", "wandb"]),
    ],
)
def test_every_combination_composes_with_the_defaults_of_its_class(override: str, names: list[str]) -> None:
    """The YAML holds the keys of the class, each at its default."""
    nodes: Any = composed(override)["tracker"]
    assert sorted(nodes) == names
    for name, node in nodes.items():
        built = build(node)
        assert built == type(built)()
        assert built.name == name
        assert set(node) - {"kind"} == {each.name for each in fields(built) if each.init}
