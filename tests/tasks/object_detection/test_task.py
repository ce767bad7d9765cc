"""What is read of COCO JSON and VOC XML, and what is refused, all at once."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import HarnessError
from harness.tasks.object_detection.demo import DemoDetection
from harness.tasks.object_detection.task import ObjectDetection
from tests.helpers.tiny_detection import CLASSES, coco, voc


def test_coco_and_voc_give_the_same_boxes(tmp_path: Path) -> None:
    """VOC counts pixels from 1, COCO gives width and height; an image stays whole in one split."""
    one = ObjectDetection(name="a", path=str(coco(tmp_path / "coco"))).load()
    other = ObjectDetection(name="b", path=str(voc(tmp_path / "voc", lists=False))).load()
    listed = ObjectDetection(name="c", path=str(voc(tmp_path / "lists"))).load()
    assert one.labels == other.labels == listed.labels == CLASSES
    for found in (one, other):
        assert found.facts["rows"] == {"train": 10, "validation": 2, "test": 4}
    assert listed.facts["rows"] == {"train": 8, "validation": 4, "test": 4}
    assert one.test.ids.tolist() == other.test.ids.tolist()
    for first, second in zip(one.test.targets, other.test.targets, strict=True):
        assert np.array_equal(first.boxes, second.boxes) and first.classes.tolist() == second.classes.tolist()
    again = ObjectDetection(name="a", path=str(tmp_path / "coco/boxes-0.json")).load()
    assert again.fingerprint == one.fingerprint == other.fingerprint, "what counts is what the files say"
    demo = DemoDetection(name="d", train_images=6, validation_images=4, test_images=4)
    assert demo.load().fingerprint == demo.load().fingerprint and demo.load().labels == ("disc", "star", "triangle")


def _changed(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    file = coco(tmp_path)

    def ids(content: dict[str, Any]) -> None:
        content["images"][1]["id"] = content["images"][0]["id"]
        content["annotations"][0]["category_id"] = 99
        content["annotations"][1]["bbox"] = [1, 2, "x", 4]
        content["images"][2]["file_name"] = "../../outside.png"

    _changed(file, ids)
    with pytest.raises(HarnessError) as told:
        ObjectDetection(name="mine", path=str(file)).load()
    said = str(told.value)
    for part in (
        "1 values of id occur several times in images: 1", "annotation 1 (99)", "no bbox of four finite numbers",
        "1 images lie outside the folder",
    ):  # fmt: skip
        assert part in said, said
    file = coco(tmp_path / "boxes")
    pictures = tmp_path / "boxes/pictures"

    def sides(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"] = [5, 5, 0, 4]
        content["annotations"][1]["bbox"] = [30, 5, 20, 4]
        content["annotations"][2]["bbox"] = [90, 5, 9, 4]

    _changed(file, sides)
    (pictures / "0-9.png").write_bytes((pictures / "0-9.png").read_bytes()[:60])
    (pictures / "0-10.png").unlink()
    with pytest.raises(HarnessError) as told:
        ObjectDetection(name="mine", path=str(file)).load()
    said = str(told.value)
    for part in (
        "2 of 16 train images cannot be read", "no such file", "boxes have no size", "boxes lie outside their image",
        "boxes reach beyond their image", "task.faulty=mend", "task.unreadable=skip",
    ):  # fmt: skip
        assert part in said, said
    mended = ObjectDetection(name="mine", path=str(file), faulty="mend", unreadable="skip").load()
    assert sum("were cut" in each or "were left out" in each for each in mended.warnings) >= 3, mended.warnings
    Image.new("RGB", (9, 9)).save(pictures / "0-3.png")
    with pytest.raises(HarnessError, match=r"of images of another size: .*0-3.png .40 x 32, and it is 9 x 9"):
        ObjectDetection(name="mine", path=str(file), faulty="mend", unreadable="skip").load()


def test_what_is_no_annotation_is_told(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    bomb = '<!DOCTYPE a [<!ENTITY b "cc">]><annotation>&b;</annotation>'
    (folder / "Annotations/image00.xml").write_text(bomb)
    (folder / "JPEGImages/image01.png").unlink()
    main = folder / "ImageSets/Main/val.txt"
    main.write_text(main.read_text() + "image03\n../../etc\n")
    with pytest.raises(HarnessError) as told:
        ObjectDetection(name="mine", path=str(folder)).load()
    said = str(told.value)
    for part in (
        "image00 (declares a document type or entities", "image01 (no image in JPEGImages,",
        "../../etc (leads out of the folder)", "listed several times in ImageSets/Main: image03",
    ):  # fmt: skip
        assert part in said, said
    for path, part in (
        (tmp_path / "none", "does not exist"), (tmp_path, r"has no .xml files"), (__file__, "cannot be read as JSON"),
    ):  # fmt: skip
        with pytest.raises(HarnessError, match=part):
            ObjectDetection(name="mine", path=str(path)).load()
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(HarnessError, match="not of COCO's form"):
        ObjectDetection(name="mine", path=str(tmp_path / "list.json")).load()
    with pytest.raises(HarnessError) as told:
        ObjectDetection(name="mine", metric="map", input_size=[9], least_score=2, faulty="no", unreadable="no").load()
    for part in (
        "task.metric map",
        "task.input_size is",
        "task.least_score must",
        "task.faulty must",
        "unreadable must",
    ):
        assert part in str(told.value)


COCO_FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda content: content["images"][0].update(file_name="a\0.png"), "images have an empty file_name or one with"),
    (lambda content: content["images"][0].update(file_name="\ud800.png"), "half a character"),
    (lambda content: content["categories"][0].update(name="\ud800"), "half a character"),
    (lambda content: content["categories"][0].update(name=" "), "categories have an empty name"),
    (lambda content: content["categories"][0].update(name="light"), "several categories have the same name: light"),
    (lambda content: content["annotations"][0].update(bbox=[10**400, 1, 2, 3]), "no bbox of four finite numbers"),
    (lambda content: content["annotations"][0].update(iscrowd="0"), "annotation 1 ('0')"),  # text is true for Python
    (lambda content: content["annotations"][0].update(iscrowd="false"), "an iscrowd other than 0 and 1"),
    (lambda content: content["annotations"][0].update(iscrowd=2), "an iscrowd other than 0 and 1"),
    (lambda content: content["annotations"][0].update(image_id="1"), "annotation 1 ('1')"),
    (lambda content: content["annotations"][0].update(category_id="7"), "where '1' is not 1"),
]


def test_values_that_a_json_file_may_hold_and_no_annotation_can_have_are_told(tmp_path: Path) -> None:
    whole = coco(tmp_path).read_text()
    file = tmp_path / "boxes-0.json"
    for change, part in COCO_FAULTS:
        file.write_text(whole)
        _changed(file, change)
        with pytest.raises(HarnessError, match=re.escape(part)):
            ObjectDetection(name="mine", path=str(file)).load()
    for raw, part in (
        (whole.replace("dark", "d\xe9rk").encode("latin-1"), "Save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"), (b"<?xml version='1.0'?>", "an XML document"),
        (b"0 .5 .5 .1 .1", "or a folder with VOC XML"),
    ):  # fmt: skip
        file.write_bytes(raw)
        with pytest.raises(HarnessError, match=part):
            ObjectDetection(name="mine", path=str(file)).load()
    file.write_bytes(gzip.compress(whole.encode()))
    assert ObjectDetection(name="mine", path=str(file)).load().labels == CLASSES
    picture = tmp_path / "pictures/0-1.png"
    picture.unlink()
    picture.symlink_to(picture)
    with pytest.raises(HarnessError, match=r"1 of 16 train images cannot be read: pictures/0-1\.png"):
        ObjectDetection(name="mine", path=str(file)).load()


def test_what_is_no_annotation_of_voc_is_no_image_without_objects(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    file, listed = folder / "Annotations/image00.xml", folder / "ImageSets/Main/train.txt"
    whole, names = file.read_text(), listed.read_text()
    for text, part in (
        ("<a/>", "its root is <a>"), (whole.replace("<annotation>", '<annotation xmlns="http://x">'), "no annotation"),
        (whole.replace("object>", "Object>"), "with <object>"),
        (f'<?xml version="1.0" encoding="nope"?>{whole}', "unknown encoding"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(HarnessError, match=part):
            ObjectDetection(name="mine", path=str(folder)).load()
    file.write_text(whole)
    for text, part in (
        (names.replace("\n", ".png\n"), "lists name images without folders, suffixes and flags"),
        (names.replace("\n", " -1\n"), "without folders, suffixes and flags"), ("", "lists no training image"),
    ):  # fmt: skip
        listed.write_text(text)
        with pytest.raises(HarnessError, match=part):
            ObjectDetection(name="mine", path=str(folder)).load()
    listed.write_text(names)
    picture = folder / "JPEGImages/image00.png"
    Image.open(picture).convert("L").save(picture.with_suffix(".jpg"))
    with pytest.raises(HarnessError, match=r"several images: image00\.jpg, image00\.png"):
        ObjectDetection(name="mine", path=str(folder)).load()
    picture.with_suffix(".jpg").unlink()
    picture.rename(picture.with_suffix(".Png"))
    file.write_text(whole.replace("</object>", "<difficult>true</difficult></object>"))
    data = ObjectDetection(name="mine", path=str(folder)).load()
    assert data.train.targets[0].ignored.all() and data.facts["rows"]["train"] == 8
    with pytest.raises(HarnessError, match=r"task\.images=x is of a JSON file"):
        ObjectDetection(name="mine", path=str(folder), images="x").load()
    flat = voc(tmp_path / "flat", lists=False)
    (flat / "._image00.xml").write_bytes(b"\0\5\x16\7")
    assert sum(ObjectDetection(name="mine", path=str(flat)).load().facts["rows"].values()) == 16


def test_a_class_that_only_test_images_have_is_refused(tmp_path: Path) -> None:
    folder = voc(tmp_path)
    file = folder / "Annotations/image15.xml"
    file.write_text(file.read_text().replace("dark", "drak").replace("light", "ligth"))
    with pytest.raises(HarnessError, match=r"classes that no training or validation image has: '(drak|ligth)'"):
        ObjectDetection(name="mine", path=str(folder)).load()


def test_lists_of_voc_are_taken_as_they_are_or_refused(tmp_path: Path) -> None:
    """trainval.txt in place of train.txt and val.txt; never test images to train on; names may have spaces."""
    folder = voc(tmp_path)
    main = folder / "ImageSets/Main"
    test = len((main / "test.txt").read_text().split())
    train, validation = ((main / f"{name}.txt").read_text() for name in ("train", "val"))
    (main / "train.txt").unlink()
    with pytest.raises(HarnessError, match=r"lists images of validation and test and none to train on: add train.txt"):
        ObjectDetection(name="mine", path=str(folder)).load()
    (main / "val.txt").unlink()
    (main / "trainval.txt").write_text(train + validation)
    found = ObjectDetection(name="mine", path=str(folder)).load()
    assert found.facts["rows"]["test"] == test
    assert sum(found.facts["rows"].values()) == len((train + validation).split()) + test
    for part in ("Annotations/image00.xml", "JPEGImages/image00.png"):
        (folder / part).rename((folder / part).with_stem("my image"))
    (main / "trainval.txt").write_text((train + validation).replace("image00", "my image"))
    assert ObjectDetection(name="mine", path=str(folder)).load().facts["rows"] == found.facts["rows"]
    (main / "trainval.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(HarnessError, match=r"trainval.txt cannot be read as UTF-8"):
        ObjectDetection(name="mine", path=str(folder)).load()


def test_corners_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    folder = voc(tmp_path)
    for name, value in (("image00", "nan"), ("image01", "inf")):
        file = folder / f"Annotations/{name}.xml"
        text = file.read_text()
        file.write_text(
            text.replace("<xmin>", f"<xmin>{value}</xmin><was>", 1).replace("</xmin><ymin>", "</was><ymin>", 1)
        )
    file = folder / "Annotations/image02.xml"
    file.write_text(re.sub(r"<width>[^<]*", "<width>inf", file.read_text()))
    with pytest.raises(HarnessError) as told:
        ObjectDetection(name="mine", path=str(folder)).load()
    for name in ("image00 (an object with a corner", "image01 (an object with a corner", "image02 ("):
        assert name in str(told.value)


def test_a_class_of_ignored_objects_alone_is_none(tmp_path: Path) -> None:
    """Such objects are left out: nothing is found of their class, so nothing need be ignored."""
    folder = voc(tmp_path)
    file = folder / "Annotations/image00.xml"
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
    hard = f"<object><name>hard</name><difficult>1</difficult><bndbox>{box}</bndbox></object>"
    file.write_text(file.read_text().replace("</annotation>", f"{hard}</annotation>"))
    assert ObjectDetection(name="mine", path=str(folder)).load().labels == CLASSES
