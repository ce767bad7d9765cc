"""A teacher's answers as labels of further rows: which rows and labels, and a study with the student beside others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.augment import AugmentationContext, augmented
from harness.augment.distillation import Distillation
from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.records.run_spec import RunBatch, RunSpec
from harness.runs.execute import execute
from tests.augment.test_augment import TEXTS, node, rows
from tests.helpers.small_dataset import short_config as config
from tests.helpers.small_dataset import shorten, spec

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunSpec:
    """A finished run, whose model is the teacher."""
    home = tmp_path_factory.mktemp("teacher")
    planned = spec(config(home, cache, "linear_probe"), home / "runs" / "teacher")
    execute(RunBatch((planned,)))
    return planned


def around(tmp_path: Path, answer: Any) -> AugmentationContext:
    """A context whose teacher gives the same probabilities for every text."""

    def teach(directory: Path, identity: str, texts: list[str]) -> Any:
        return np.tile(np.array(answer, dtype=np.float32), (len(texts), 1))

    return AugmentationContext(
        lambda words: np.zeros((0, 0), dtype=np.float32), "cpu", tmp_path, lambda line: None, lambda seconds: None,
        ("refund", "password", "delivery"), frozenset({"held out"}), teach,
    )  # fmt: skip


def test_labels_are_drawn_at_the_temperature(teacher: RunSpec, tmp_path: Path) -> None:
    """From the teacher's probabilities, whatever the order of its classes; the same at the same seed."""
    file = tmp_path / "more.csv"
    file.write_text("text\n" + "".join(f"message {number}\n" for number in range(2000)))
    path = str(teacher.paths.model)
    for temperature, expected in (
        (1.0, [0.5, 0.3, 0.2]),
        (0.5, [25 / 38, 9 / 38, 4 / 38]),
        (0.01, [1, 0, 0]),
        (1e-9, [1, 0, 0]),
    ):
        built: Distillation = build(
            node("distil", teacher_path=path, unlabelled_path=str(file), labelled=False, temperature=temperature)
        )
        one, facts = augmented(rows(TEXTS), {"distil": built}, 0, around(tmp_path, [0.5, 0.3, 0.2]))
        again, _ = augmented(rows(TEXTS), {"distil": built}, 0, around(tmp_path, [0.5, 0.3, 0.2]))
        other, _ = augmented(rows(TEXTS), {"distil": built}, 1, around(tmp_path, [0.5, 0.3, 0.2]))
        assert one.texts[:6] == TEXTS and one.texts[6] == "message 0" and len(one) == 2006
        assert (one.ids[6:] == -1).all() and len(one.targets) == 2006
        # The teacher's classes are delivery, password, refund in this order.
        shares = np.bincount(one.targets[6:], minlength=3)[[2, 1, 0]] / 2000
        np.testing.assert_allclose(shares, expected, atol=0.04)
        assert one.augmentation == again.augmentation and (one.targets == again.targets).all()
        assert temperature <= 0.01 or one.augmentation != other.augmentation
        assert facts["distil"]["copies"] == facts["distil"]["unlabelled"] == 2000


def test_rows_that_have_labels_or_are_evaluated_are_left_out(teacher: RunSpec, tmp_path: Path) -> None:
    file = tmp_path / "more.jsonl"
    texts = ["HELD  out", TEXTS[0].upper(), "new", "new", " ", "other"]
    file.write_text("".join(json.dumps({"message": text}) + "\n" for text in texts))
    built: Distillation = build(
        node("distil", teacher_path=str(teacher.paths.model), unlabelled_path=str(file), text="message", copies=2)
    )
    found, facts = augmented(rows(TEXTS), {"distil": built}, 0, around(tmp_path, [1, 0, 0]))
    assert found.texts[6:] == [*TEXTS, "new", "other"] * 2
    assert facts["distil"]["unlabelled"] == 2 and facts["distil"]["left_out"] == 3
    assert facts["distil"]["agreement"] == pytest.approx(1 / 3, abs=1e-4)  # delivery is the class of the last two rows
    noise = build(node("noise"))
    both, _ = augmented(rows(TEXTS), {"noise": noise, "distil": built}, 0, around(tmp_path, [1, 0, 0]))
    assert both.texts[-16:] == found.texts[6:] and len(both) == len(both.targets) == len(both.ids) > 22


def test_study_has_the_student_beside_the_others(teacher: RunSpec, tmp_path: Path, cache: Path, main: Main) -> None:
    """A head of a few rows learns from the teacher's answers to others; its cell stands beside the plain one."""
    home = teacher.paths.directory.parents[1]
    command = [
        "-m", "study=students", "task=csv", f"task.path={home / 'train.csv'}", f"task.test_path={home / 'test.csv'}",
        "task.label=topic", "task.shots=1", "task.pool_per_class=3", "task.name=small", "model=own",
        f"model.path={shorten()}",
        "model.name=short", "device=cpu", "method=linear_probe", "augment=none,distil",
        f"augment.distil.teacher_path={teacher.paths.model}", f"augment.distil.unlabelled_path={home / 'train.csv'}",
        "tune.trials=1", "confirm.seeds=2", "launch.kind=inline",
    ]  # fmt: skip
    code, printed = main(*command)
    assert code == 0, printed
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs/students/runs").glob("*/*/record.json")]
    taught = [each for each in records if (each["data"].get("augmented") or {}).get("distil")]
    assert len({each["cell"] for each in records}) == 2 and len(taught) * 2 == len(records)
    # 30 rows, 3 of them shots, others validation rows.
    facts = taught[0]["data"]["augmented"]["distil"]
    assert facts["unlabelled"] > 0 and facts["left_out"] > 3 and facts["copies"] == facts["unlabelled"] + 3
    code, printed = main(*command)
    assert code == 0, printed  # everything is done
    (Path(home) / "train.csv").write_text((home / "train.csv").read_text() + "a new one,refund\n")
    code, printed = main(*command)
    assert code == 2 and "another configuration" in printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "names no teacher"),
        ({"teacher_path": "x", "temperature": 0}, "temperature must be a number above 0, not 0"),
        ({"teacher_path": "x", "temperature": "warm"}, "temperature must be a number above 0"),
        ({"teacher_path": "x", "temperature": float("nan")}, "temperature must be a number above 0"),
        ({"teacher_path": "x", "labelled": "perhaps"}, "labelled must be true or false"),
        ({"teacher_path": "x", "labelled": False}, "name them, augment.distil.unlabelled_path"),
        ({"teacher_path": ["x"]}, "augment.distil.teacher_path"),
        ({"teacher_path": "x", "copies": 0}, "copies must be a whole number"),
    ],
)
def test_mistakes_in_keys(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        build(node("distil", **changes))


def test_mistakes_about_teachers(teacher: RunSpec, tmp_path: Path, cache: Path) -> None:
    """What is missing is told before anything is computed; what does not fit, too."""
    path = str(teacher.paths.model)

    def ready(**changes: Any) -> None:
        build(node("distil", **{"teacher_path": path} | changes)).ready(tmp_path)

    ready()
    with pytest.raises(HarnessError, match="is no saved model and no study"):
        ready(teacher_path=str(tmp_path))
    with pytest.raises(HarnessError, match="is no file"):
        ready(unlabelled_path=str(tmp_path / "none.csv"))
    (tmp_path / "x.csv").write_text("message\nhello\n")
    with pytest.raises(HarnessError, match=r"augment\.distil\.unlabelled_path: .*Choose with augment\.distil\.text"):
        ready(unlabelled_path=str(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_bytes("text\nhé\n".encode("cp1252"))
    with pytest.raises(HarnessError, match="save it as UTF-8 if that reads right"):
        ready(unlabelled_path=str(tmp_path / "x.csv"))
    built: Distillation = build(node("distil", teacher_path=path))
    context = around(tmp_path, [1, 0, 0])
    with pytest.raises(HarnessError, match="the rows of this task are pairs"):
        augmented(rows(TEXTS, TEXTS), {"distil": built}, 0, context)
    with pytest.raises(HarnessError, match="predicts classes that the task has not: 'delivery'"):
        augmented(rows(TEXTS), {"distil": built}, 0, replace(context, labels=("refund", "password")))
