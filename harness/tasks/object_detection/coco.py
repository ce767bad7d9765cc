"""Annotations of COCO's form: a JSON file of images, annotations and categories (Lin et al. 2014, arXiv:1405.0312)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.images import FileImage
from harness.data.readers.containers import refuse_foreign, unpack
from harness.data.text_values import half_characters
from harness.errors import HarnessError, Problems
from harness.formatting.examples import examples, several
from harness.tasks.labeled_files import lies_within
from harness.tasks.object_detection.rows import Annotated, Corners, Rows, numbers

PARTS = ("images", "annotations", "categories")
FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


def read_coco(file: Path, folder: Path | None) -> Rows:
    """Read a file of annotations.

    Args:
        file: the JSON.
        folder: with the images that it names; None: the folder of the file.

    Raises:
        HarnessError: the file is of another form; lists all problems.
    """
    parts = _parts(file)
    root, problems = (folder or file.parent).resolve(), Problems()
    problems.check(root.is_dir(), f"task.images={folder} is no folder.")
    for part, key in (("images", "id"), ("annotations", "id"), ("categories", "id"), ("images", "file_name")):
        values = [each[key] for each in parts[part] if key in each]
        twice = [value for value, count in Counter(values).items() if count > 1]
        problems.check(
            not twice, f"{file.name}: {len(twice)} values of {key} occur several times in {part}: {several(twice)}. "
            "Give each its own.",
        )  # fmt: skip
    names = {each["id"]: str(each["name"]).strip() for each in parts["categories"]}
    _check_names(file.name, parts, names, problems)
    held: dict[Any, list[tuple[str, Corners, bool]]] = {each["id"]: [] for each in parts["images"]}
    odd, unknown, lost, crowds = list[str](), list[str](), list[str](), list[str]()
    for place, each in enumerate(parts["annotations"], 1):
        what = f"annotation {each.get('id', f'number {place}')}"
        box = numbers(each["bbox"], 4)
        if box is None:
            odd.append(f"{what} ({each['bbox']})")
        elif each["category_id"] not in names:
            unknown.append(f"{what} ({each['category_id']!r})")
        elif each["image_id"] not in held:
            lost.append(f"{what} ({each['image_id']!r})")
        else:
            left, top, width, height = box
            corners = (left, top, left + width, top + height)
            held[each["image_id"]].append((names[each["category_id"]], corners, bool(each.get("iscrowd", 0))))
        if each.get("iscrowd") not in (None, 0, 1):
            crowds.append(f"{what} ({each['iscrowd']!r})")
    for found, why in (
        (odd, "have no bbox of four finite numbers, [left, top, width, height]"),
        (unknown, "are of a class that is not among the ids of categories, where '1' is not 1"),
        (lost, "are of an image that is not among the ids of images, where '1' is not 1"),
        (crowds, "have an iscrowd other than 0 and 1, or false and true"),
    ):
        problems.check(not found, f"{file.name}: {len(found)} annotations {why}: {several(found)}.")
    outside = [each["file_name"] for each in parts["images"] if not lies_within(_path(root, each), root)]
    problems.check(
        not outside,
        f"{file.name}: {len(outside)} images lie outside the folder {root}: {several(outside)}. Name the folder that "
        "holds them with task.images=FOLDER, and paths within it.",
    )
    problems.raise_any()
    images = [
        Annotated(FileImage(_path(root, each)), str(each["file_name"]), _size(each), held[each["id"]], row)
        for row, each in enumerate(parts["images"])
    ]
    return Rows(images, tuple(dict.fromkeys(names.values())))


def _check_names(file: str, parts: Mapping[str, Any], names: Mapping[Any, str], problems: Problems) -> None:
    """Report names of images and classes that no file can hold, and classes that cannot be told apart."""
    for part, key in (("images", "file_name"), ("categories", "name")):
        values = [str(each[key]) for each in parts[part]]
        odd = [value for value in values if not value.strip() or "\0" in value]
        problems.check(not odd, f"{file}: {len(odd)} of {len(values)} {part} have an empty {key} or one with a NUL.")
        if told := half_characters(values, key, f"{file}, {part}"):
            problems.add(told)
    used = {each["category_id"] for each in parts["annotations"]}
    same = [name for name, count in Counter(names[each] for each in names if each in used).items() if count > 1]
    problems.check(
        not same, f"{file}: several categories have the same name: {several(same)}. Give each its own, or join them."
    )


def _parts(file: Path) -> dict[str, Sequence[dict[str, Any]]]:
    try:
        raw, _ = unpack(file.read_bytes(), file.name)
        refuse_foreign(raw, file.name)
        content = json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        hint = " Save it as UTF-8." if isinstance(error, UnicodeDecodeError) else ""
        raise HarnessError(
            f"{file} cannot be read as JSON: {getattr(error, 'strerror', None) or error}.{hint} task.path names a JSON "
            "file of COCO's form, or a folder with VOC XML."
        ) from None
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        held = examples(list(content)) if isinstance(content, dict) else type(content).__name__
        raise HarnessError(
            f"{file.name} is not of COCO's form, a mapping with the lists {', '.join(PARTS)}; it holds {held}. For VOC "
            "XML name the folder."
        )
    problems = Problems()
    for part, keys in FIELDS.items():
        lacks = [
            place
            for place, each in enumerate(content[part], 1)
            if not isinstance(each, dict)
            or any(not isinstance(each.get(key), str | int) for key in keys if key != "bbox")
            or any(key not in each for key in keys)
        ]
        problems.check(
            not lacks,
            f"{file.name}: {len(lacks)} of {len(content[part])} {part} have no {' or no '.join(keys)}: number "
            f"{several(lacks)}.",
        )
    problems.raise_any()
    return {part: content[part] for part in PARTS}


def _path(root: Path, image: dict[str, Any]) -> Path:
    # Not resolved: a link is judged by where it leads, and named as it is written.
    return Path(os.path.normpath(root / str(image["file_name"])))


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    found = numbers([image.get("width"), image.get("height")], 2)
    return None if found is None else (int(found[0]), int(found[1]))
