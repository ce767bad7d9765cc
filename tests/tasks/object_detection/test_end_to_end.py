"""Studies of detection from end to end: both kinds of networks, report with boxes, saved models, prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness.report.__main__ import main as report
from harness.serving.predict import load
from harness.serving.predict import main as predict
from tests.helpers.small_dataset import shorten
from tests.helpers.tiny_detection import CLASSES, coco, detector
from tests.helpers.tiny_images import write

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("efficientnet_lite", tmp_path_factory.mktemp("lite"))


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detector(tmp_path_factory.mktemp("yolos"))


def test_a_study_of_boxes(tmp_path: Path, main: Main, backbone: Path) -> None:
    """The head on frozen maps learns what is simple; its report shows boxes, its saved model predicts as it did."""
    file = coco(tmp_path / "squares", count=40)
    code, printed = main(
        "-m", "study=boxes", "task=detection", f"task.path={file}", "task.name=squares", "task.input_size=[32,40]",
        "model=own_image", f"model.path={backbone}", "model.name=tiny", "method=head_only,full", "train.epochs=8",
        "train.batch_size=4", "augment=image_flip", "tune.trials=1", "tune.sampler=random", "confirm.seeds=2",
        "keep=all", "launch.kind=inline", "train.lr=1e-3", "train.head_lr=1e-2",
    )  # fmt: skip
    assert code == 0, printed
    confirmed = sorted((tmp_path / "runs/boxes").glob("runs/*head_only/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "object_detection" and record["metrics"]["test"]["ap50"] > 0.05
    table = pd.read_parquet(confirmed[0].parent / "predictions.parquet").query("split == 'test'")
    assert table["thumbnail"].notna().all() and table["image"].str.startswith("pictures/").all()
    assert table["score_ap50"].mean() == pytest.approx(record["metrics"]["test"]["ap50"], abs=1e-6)
    page = (tmp_path / "reports/boxes/index.html").read_text(encoding="utf-8")
    assert "Hardest test rows" in page and "classes-" in page and "data:image/jpeg;base64" in page
    assert report(["runs/boxes", "--no-examples", "--output", str(tmp_path / "bare")]) == 0
    assert "data:image/jpeg" not in (tmp_path / "bare/index.html").read_text(encoding="utf-8")
    directory = confirmed[0].parent / "model"
    paths = [file.parent / each for each in table["image"]]
    found = load(directory).predict([str(each) for each in paths])
    stored = [[each for each in json.loads(row) if each[2] >= 0.3] for row in table["prediction"]]
    assert [[each["label"] for each in row] for row in found] == [[each[0] for each in row] for row in stored]
    for row, boxes in zip(found, stored, strict=True):
        for one, (_, box, score) in zip(row, boxes, strict=True):
            assert one["box"] == pytest.approx(box, abs=0.05) and one["score"] == pytest.approx(score, abs=1e-4)
    output = tmp_path / "out.csv"
    assert predict([str(directory), str(file.parent / "pictures"), "--output", str(output)]) == 0
    written = pd.read_csv(output)
    assert list(written.columns) == ["image", "prediction", "objects"] and len(written) == 40
    assert {each["label"] for row in written["prediction"] for each in json.loads(row)} <= set(CLASSES)
    results = tmp_path / "results.json"
    assert predict([str(directory), str(paths[0]), "--output", str(results)]) == 0
    assert [set(each) for each in json.loads(results.read_text())] == [
        {"image_id", "category_id", "bbox", "score"} for _ in found[0]
    ]


def test_a_detector_is_trained_with_its_own_loss(tmp_path: Path, main: Main, yolos: Path) -> None:
    file = coco(tmp_path / "squares", count=12)
    code, printed = main(
        "task=detection", f"task.path={file}", "task.name=squares", "model=own_image", f"model.path={yolos}",
        "model.name=tiny", "method=lora", "method.config.target_modules=[query,value]", "train.epochs=2",
        "train.batch_size=4", "augment=image_flip",
    )  # fmt: skip
    assert code == 0, printed
    (record,) = (tmp_path / "runs").rglob("record.json")
    facts = json.loads(record.read_text(encoding="utf-8"))
    assert facts["metrics"]["test"]["loss"] > 0 and facts["metrics"]["test"]["ap50"] is not None
    model = load(record.parent / "model")
    found = model.predictions([str(each) for each in sorted(file.parent.rglob("*.png"))[:3]])
    assert len(found) == 3 and all(len(each.scores) for each in found["found"])


def test_what_does_not_fit_is_refused_before_compute(tmp_path: Path, main: Main, backbone: Path, yolos: Path) -> None:
    boxes = ("task=demo_detection", "model=own_image", f"model.path={backbone}", "model.name=tiny")
    text = ("task=demo_detection", f"model.path={shorten()}", "model.digests_of=null", "model.digests=null")
    for arguments, said in (
        ((*boxes, "method=linear_probe"), "method=linear_probe is for"),
        ((*boxes, "method=full", "augment=mixup"), "augment=mixup would move objects away from their boxes"),
        ((*boxes, "method=full", "train.r_drop=1"), "train.r_drop=1 has no meaning"),
        ((*boxes, "method=full", "task.metric=accuracy"), "Unknown task.metric accuracy"),
        (text, "reads texts, and the rows of task=demo_detection are images. Models that read images:"),
        (
            ("task=demo_images", "model=own_image", f"model.path={yolos}", "model.name=tiny", "method=full"),
            "(yolos) finds objects, and task=demo_images is image_classification. Models for it: clip-base",
        ),
        (("task=demo_images", *boxes[1:], "method=head_only"), "method=head_only is for object_detection"),
    ):
        code, printed = main(*arguments)
        assert code == 2 and said in printed.replace("\n", " "), (arguments, printed)
    assert not (tmp_path / "runs").exists()
