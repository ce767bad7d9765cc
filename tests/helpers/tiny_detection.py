"""Small images with boxes as COCO JSON or VOC XML, and tiny detectors with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.helpers.tiny_images import PROCESSOR, SIZE

CLASSES = ("dark", "light")
Boxes = list[tuple[str, tuple[int, int, int, int]]]
YOLOS: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": [SIZE, SIZE], "patch_size": 8, "num_detection_tokens": 8, "num_labels": 5,
}  # fmt: skip


def scene(draw: np.random.Generator, width: int = 40, height: int = 32) -> tuple[Image.Image, Boxes]:
    """A gray image with a dark square, a light one, or both."""
    values = np.full((height, width, 3), 128, dtype=np.uint8)
    boxes: Boxes = []
    for place, name in enumerate(CLASSES):
        if draw.random() < 0.7 or (place and not boxes):
            side = int(draw.integers(8, 13))
            left, top = int(draw.integers(place * 20, place * 20 + 20 - side)), int(draw.integers(0, height - side))
            values[top : top + side, left : left + side] = 20 + 200 * place
            boxes.append((name, (left, top, left + side, top + side)))
    return Image.fromarray(values), boxes


def coco(folder: Path, count: int = 16, seed: int = 0) -> Path:
    """Write images and their JSON; return the path of the latter."""
    draw = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        image, boxes = scene(draw)
        image.save(folder / "pictures" / f"{seed}-{number}.png")
        images.append(
            {"id": number, "file_name": f"pictures/{seed}-{number}.png", "width": image.width, "height": image.height}
        )
        for name, (left, top, right, bottom) in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": CLASSES.index(name) + 7,
                    "bbox": [left, top, right - left, bottom - top],
                }
            )  # fmt: skip
    categories = [{"id": place + 7, "name": name} for place, name in enumerate(CLASSES)]
    file = folder / f"boxes-{seed}.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def voc(folder: Path, count: int = 16, lists: bool = True) -> Path:
    """Write a folder of Pascal VOC's form; without lists of splits, XML files beside images."""
    draw = np.random.default_rng(0)
    annotations, pictures = (folder / name if lists else folder for name in ("Annotations", "JPEGImages"))
    for each in (annotations, pictures):
        each.mkdir(parents=True, exist_ok=True)
    names = [f"image{number:02d}" for number in range(count)]
    for name in names:
        image, boxes = scene(draw)
        image.save(pictures / f"{name}.png")
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
            f"<ymax>{bottom}</ymax></bndbox></object>"
            for label, (left, top, right, bottom) in boxes
        )
        size = f"<size><width>{image.width}</width><height>{image.height}</height></size>"
        (annotations / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    if lists:
        main = folder / "ImageSets" / "Main"
        main.mkdir(parents=True)
        thirds = (names[: count // 2], names[count // 2 : 3 * count // 4], names[3 * count // 4 :])
        for split, part in zip(("train", "val", "test"), thirds, strict=True):
            (main / f"{split}.txt").write_text("\n".join(part) + "\n")
    return folder


def detector(directory: Path) -> Path:
    """Write a tiny YOLOS; the same at every call."""
    from transformers import YolosConfig, YolosForObjectDetection

    torch.manual_seed(0)
    model: Any = YolosForObjectDetection(YolosConfig(**YOLOS))
    model.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    return directory
