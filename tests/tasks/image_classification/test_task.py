"""Images from every kind of source; what is wrong with a source is told before any compute, all at once."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import HarnessError
from harness.tasks.image_classification.cropped_objects import CroppedObjects
from harness.tasks.image_classification.data import ImageData
from harness.tasks.image_classification.demo import SHAPES, DemoImages
from harness.tasks.image_classification.digits import Digits
from harness.tasks.image_classification.task import ImageClassification
from tests.helpers.tiny_images import folders


def load(**settings: Any) -> ImageData:
    return ImageClassification(**{"name": "mine", "test_fraction": 0.25, "validation_fraction": 0.25} | settings).load()


def refusal(**settings: Any) -> str:
    with pytest.raises(HarnessError) as refused:
        load(**settings)
    return str(refused.value)


def rows(data: ImageData) -> int:
    assert data.validation is not None
    return len(data.train) + len(data.validation) + len(data.test)


def arrays(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 3
    return draw.integers(0, 80, (count, 8, 8)).astype(np.uint8) + (labels * 80).astype(np.uint8)[:, None, None], labels


def test_a_folder_a_class(tmp_path: Path) -> None:
    """Files that are no images and images beside the folders are told; equal files are one; names are paths."""
    root = folders(tmp_path / "cells")
    (root / "dark" / "notes.txt").write_text("seen by two readers", encoding="utf-8")
    (root / "stray.png").write_bytes((root / "dark" / "00.png").read_bytes())
    (root / "dark" / "deeper").mkdir()
    (root / "dark" / "deeper" / "copy.png").write_bytes((root / "dark" / "01.png").read_bytes())
    data = load(path=str(root))
    assert data.labels == ("dark", "light") and rows(data) == 24 and data.family == "image_classification"
    assert set(data.names.values()) >= {"dark/00.png", "light/11.png"}
    told = " ".join(data.warnings)
    assert "1 files that are no images" in told and "1 images beside the folders" in told and "1 duplicate" in told
    assert load(path=str(root)).fingerprint == data.fingerprint
    assert "words_mean" not in data.facts


def test_given_splits_are_folders(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        folders(tmp_path / split, count)
    data = load(path=str(tmp_path))
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 6, 8)
    assert any("occur among" in each for each in data.warnings)  # the helper draws the same images


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_of_paths_and_bytes(tmp_path: Path, kind: str) -> None:
    root = folders(tmp_path)
    files = sorted(root.rglob("*.png"))
    frame = pd.DataFrame(
        {"file": [str(each.relative_to(root)) for each in files], "kind": [each.parent.name for each in files]}
    )
    if kind == "csv":
        frame.to_csv(root / "t.csv", index=False)
    elif kind == "jsonl":
        frame.to_json(root / "t.jsonl", orient="records", lines=True)
    else:
        frame["file"] = [{"bytes": each.read_bytes(), "path": None} for each in files]
        frame.to_parquet(root / "t.parquet")
    data = load(path=str(root / f"t.{kind}"), image="file", label="kind", label_names={"dark": "night", "light": "day"})
    assert data.labels == ("day", "night") and rows(data) == 24


def test_arrays_and_tables_of_pixels(tmp_path: Path) -> None:
    """The same images from npz, IDX and CSV, with a header and without, are the same data."""
    images, labels = arrays()
    np.savez(tmp_path / "a.npz", image=images, label=labels)
    np.savez(tmp_path / "keras.npz", x_train=images, y_train=labels[:, None], x_test=images[:6], y_test=labels[:6])
    header = struct.pack(">IIII", 2051, *images.shape)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 24) + labels.astype(np.uint8).tobytes())
    table = pd.DataFrame(images.reshape(24, -1)).assign(digit=labels)
    table.to_csv(tmp_path / "bare.csv.gz", index=False, header=False)
    table[["digit", *range(64)]].to_csv(tmp_path / "named.csv", index=False)
    found = [
        load(path=str(tmp_path / "a.npz")),
        load(path=str(tmp_path / "train-images-idx3-ubyte.gz")),
        load(path=str(tmp_path / "bare.csv.gz"), image_shape=[8, 8], label="last"),
        load(path=str(tmp_path / "named.csv"), image_shape=[8, 8], label="digit"),
        load(path=str(tmp_path / "named.csv"), image_shape=[8, 8], label="first"),
    ]
    assert len({data.fingerprint for data in found}) == 1
    keras = load(path=str(tmp_path / "keras.npz"))
    assert len(keras.test) == 6 and keras.facts["overlap_train_test"] + keras.facts["overlap_validation_test"] == 6


def test_groups_stay_together(tmp_path: Path) -> None:
    root = folders(tmp_path, count=24)
    files = sorted(root.rglob("*.png"))
    patients = [f"patient {int(each.stem) // 2}" for each in files]
    frame = pd.DataFrame(
        {
            "image": [str(each.relative_to(root)) for each in files],
            "label": [each.parent.name for each in files],
            "patient": patients,
        }
    )
    frame.to_csv(root / "t.csv", index=False)
    data = load(path=str(root / "t.csv"), group="patient")
    assert data.validation is not None
    parts = [set(split.groups) for split in (data.train, data.validation, data.test) if split.groups is not None]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert sum(map(len, parts)) == 12 == sum(data.facts["groups"].values())
    folds = load(path=str(root / "t.csv"), group="patient", validation="kfold", folds=3).folds
    assert len(folds) == 3 and not any(set(rest.groups) & set(held.groups) for rest, held in folds)
    assert "task.group" in refusal(path=str(root), group="patient")


def test_unreadable_images_are_counted_named_or_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path)
    whole = (root / "dark" / "00.png").read_bytes()
    for number in range(5):
        (root / "dark" / f"0{number}.png").write_bytes(whole[: 20 * number])
    message = refusal(path=str(root))
    assert "5 of 24 train images cannot be read: dark/00.png (empty file)" in message and "and 2 more" in message
    assert "task.unreadable=skip" in message
    data = load(path=str(root), unreadable="skip")
    assert rows(data) == 19 and any("They were left out" in each for each in data.warnings)
    assert min(map(int, data.train.ids)) >= 5  # rows keep their number in the source


def test_channels_are_told(tmp_path: Path) -> None:
    root = folders(tmp_path)
    Image.new("L", (9, 9), 40).save(root / "dark" / "gray.png")
    Image.new("RGBA", (99, 99), (0, 0, 0, 0)).save(root / "light" / "clear.png")
    told = " ".join(load(path=str(root)).warnings)
    assert "1 train gray image was repeated" in told and "1 train transparent image was laid on white" in told
    assert "9 to 99 pixels high" in told


def _outside(root: Path) -> dict[str, Any]:
    pd.DataFrame({"image": ["../x.png", "/etc/passwd", "dark/00.png"], "label": ["a", "b", "a"]}).to_csv(
        root / "t.csv", index=False
    )
    return {"path": str(root / "t.csv")}


def _link(root: Path) -> dict[str, Any]:
    (root / "dark" / "link.png").symlink_to(root.parent / "elsewhere.png")
    return {"path": str(root)}


def _one_class(root: Path) -> dict[str, Any]:
    return {"path": str(folders(root / "only", classes=("one",)))}


def _no_folders(root: Path) -> dict[str, Any]:
    return {"path": str(root / "dark")}


def _no_labels(root: Path) -> dict[str, Any]:
    pd.DataFrame({"image": ["dark/00.png", "dark/01.png"], "label": ["a", None]}).to_csv(root / "t.csv", index=False)
    return {"path": str(root / "t.csv")}


def _column(root: Path) -> dict[str, Any]:
    return _outside(root) | {"image": "picture"}


def _pickle(root: Path) -> dict[str, Any]:
    np.savez(root / "a.npz", image=np.array([{1: 2}], dtype=object), label=np.array([1]))
    return {"path": str(root / "a.npz")}


def _counts(root: Path) -> dict[str, Any]:
    np.savez(root / "a.npz", image=np.zeros((4, 5, 5), np.uint8), label=np.array([1, 2]))
    return {"path": str(root / "a.npz")}


def _short_idx(root: Path) -> dict[str, Any]:
    (root / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 9, 4, 4) + b"1234")
    (root / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 9) + bytes(9))
    return {"path": str(root / "t10k-images-idx3-ubyte")}


def _wide(root: Path) -> dict[str, Any]:
    pd.DataFrame(np.zeros((4, 17), int)).to_csv(root / "p.csv", index=False, header=False)
    return {"path": str(root / "p.csv"), "image_shape": [5, 5], "label": "last"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_outside, "2 images lie outside its folder"),
        (_link, "1 links in .* lead out of it: dark/link.png"),
        (_one_class, "at least two classes"),
        (_no_folders, "needs a folder for each class"),
        (_no_labels, "1 of 2 rows have no label"),
        (_column, "no column 'picture'.*task.image"),
        (_pickle, "not a readable npz file"),
        (_counts, "4 images and 2 labels"),
        (_short_idx, "cut short or damaged: it says 9 x 4 x 4 bytes"),
        (_wide, "17 columns, and .* 26"),
        (lambda root: {"path": str(root / "gone")}, "does not exist"),
        (lambda root: {"path": str(root), "format": "csv"}, "is a folder, and task.format=csv"),
        (lambda root: {"path": str(root), "format": "jpeg"}, "Unknown task.format jpeg"),
        (lambda root: {"path": str(root), "image_shape": [0]}, r"\[28,28\], not"),
        (lambda root: {"path": str(root), "unreadable": "ignore"}, "error or skip"),
        (lambda root: {}, "task.path=FOLDER"),
        (lambda root: {"path": str(root), "positive": "blue"}, "task.positive=blue is not a class"),
    ],
)  # fmt: skip
def test_bad_sources(tmp_path: Path, spoil: Callable[[Path], dict[str, Any]], said: str) -> None:
    import re

    root = folders(tmp_path / "data")
    assert re.search(said, refusal(**spoil(root)).replace("\n", " "))


def test_built_in_tasks() -> None:
    digits = Digits(name="digits").load()
    assert len(digits.labels) == 10 and rows(digits) + digits.facts["duplicates_dropped"] == 1797
    demo = DemoImages(name="demo", train_per_class=3, validation_per_class=2, test_per_class=2)
    first, again = (
        demo.load(),
        DemoImages(name="demo", train_per_class=3, validation_per_class=2, test_per_class=2).load(),
    )
    assert first.fingerprint == again.fingerprint and set(first.labels) == set(SHAPES) and rows(first) == 42
    with pytest.raises(HarnessError, match=r"task\.noise must lie in \[0, 1\)"):
        DemoImages(name="demo", noise=2).load()


def _voc(root: Path, boxes: dict[str, list[tuple[str, int, int, int, int]]]) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, found in boxes.items():
        Image.fromarray(draw.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(root / f"JPEGImages/{name}.jpg")
        objects = "".join(
            f"<object><name>{kind}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for kind, a, b, c, d in found
        )
        size = "<size><width>60</width><height>40</height></size>"
        (root / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>", encoding="utf-8")
    return root


def test_objects_are_cut_out_and_stay_with_their_photograph(tmp_path: Path) -> None:
    boxes = {f"p{n}": [("red", 1, 1, 20, 20), ("white", 30, 10, 70, 40), ("white", 5, 5, 6, 6)] for n in range(10)}
    data = CroppedObjects(name="cells", path=str(_voc(tmp_path, boxes)), test_fraction=0.2).load()
    assert data.labels == ("red", "white") and sum(data.facts["groups"].values()) == 10 and rows(data) == 20
    told = " ".join(data.warnings)
    assert "10 train boxes of less than 8 pixels" in told and "10 train boxes that reach beyond" in told
    sizes = {data.images[each].decoded()[0].size for each in data.test.texts}
    assert sizes == {(20, 20), (31, 31)}
    (tmp_path / "Annotations" / "p3.xml").write_text("<annotation>", encoding="utf-8")
    (tmp_path / "JPEGImages" / "p4.jpg").unlink()
    with pytest.raises(HarnessError, match=r"2 of 10 train annotations .* p3 \(.*p4 \(no image in JPEGImages,"):
        CroppedObjects(name="cells", path=str(tmp_path)).load()


def test_blood_cells(data: Path) -> None:
    """The official lists of photographs are the splits."""
    found = CroppedObjects(name="bccd_cells", path=str(data / "bccd" / "BCCD"), metric="macro_f1").load()
    assert found.labels == ("Platelets", "RBC", "WBC")
    assert sum(found.facts["groups"].values()) == 364 and found.facts["imbalance_train"] > 10
