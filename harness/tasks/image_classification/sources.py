"""Sources of labeled images: folders a class, tables of paths or bytes, arrays (npz, IDX), and tables of pixels."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.images import SUFFIXES, ArrayImage, BytesImage, FileImage, ImageSource, as_bytes
from harness.data.readers.rows import SPLITS
from harness.errors import HarnessError, nearest
from harness.formatting.examples import several

SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
# Names of arrays in npz files, by split, as Keras and MedMNIST write them.
ARRAYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
IDX_IMAGES, IDX_LABELS = 2051, 2049  # magic numbers of unsigned bytes in three and one dimensions


@dataclass
class ImageTable:
    """Labeled images of one split.

    Attributes:
        sources: n images.
        names: what each is called.
        labels: as they are written in the source.
        groups: the group of each; empty without groups.
        notes: sentences for the user.
    """

    sources: list[ImageSource]
    names: list[str]
    labels: list[Any]
    groups: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_folder(folder: Path) -> dict[str, ImageTable]:
    """Read a folder with a folder a class, or with folders train, validation and test of these.

    Raises:
        HarnessError: there are no classes, or a link leads out of the folder.
    """
    below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    splits = {
        split: each
        for split, names in SPLIT_FOLDERS.items()
        for each in below
        if each.name.lower() in names and any(inner.is_dir() for inner in each.iterdir())
    }
    if "train" in splits:
        return {split: _classes(splits[split]) for split in SPLITS if split in splits}
    return {"train": _classes(folder)}


def _classes(folder: Path) -> ImageTable:
    table = ImageTable([], [], [])
    found, others = files_below(folder)
    loose = [path for path in found if path.parent == folder]
    if len(loose) == len(found):
        hint = f" It has {len(loose)} images but no folders: put them into a folder for each class." if loose else ""
        raise HarnessError(f"{folder} needs a folder for each class, with its images.{hint}")
    if loose:
        table.notes.append(f"{folder.name}: {len(loose)} images beside the folders of the classes were left out.")
    if others:
        shown = several([path.name for path in others])
        table.notes.append(f"{folder.name}: {len(others)} files that are no images were left out ({shown}).")
    for path in found:
        if path.parent != folder:
            table.sources.append(FileImage(path))
            table.names.append(str(path.relative_to(folder)))
            table.labels.append(path.relative_to(folder).parts[0])
    return table


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files of a folder and of all folders in it, and its other files, both sorted.

    Raises:
        HarnessError: a link leads out of the folder.
    """
    inside = folder.resolve()
    images, others, outside = list[Path](), list[Path](), list[str]()
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.is_dir():
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            outside.append(str(path.relative_to(folder)))
        (images if path.suffix.lower() in SUFFIXES else others).append(path)
    if outside:
        raise HarnessError(
            f"{len(outside)} links in {folder} lead out of it: {several(outside)}. Copy the files, or name the folder "
            "that holds them."
        )
    return images, others


def read_paths(
    path: Path,
    columns: Mapping[str, Sequence[Any]],
    image: str,
    label: str,
    group: str | None,
    inside: bool = True,
) -> ImageTable:
    """Make rows of a table of paths, or of bytes as Parquet and hub data sets hold them.

    Args:
        path: of the table; paths of images are relative to its folder.
        inside: whether they must lie in that folder; those of a hub data set lie in the hub's cache.
        columns: values by name.
        image, label, group: names of the columns.

    Raises:
        HarnessError: a value is neither a path nor an image, or a path leads out of the folder.
    """
    root = path.parent.resolve()
    table = ImageTable([], [], list(columns[label]))
    odd, outside = [], []
    for row, value in enumerate(columns[image], 1):
        # A mapping of bytes and path, as `datasets` stores images; one of them may be missing.
        held = value.get("bytes") if isinstance(value, Mapping) else value
        name = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(held, bytes | bytearray):
            table.sources.append(BytesImage(bytes(held)))
            table.names.append(f"row {row}" if not isinstance(name, str) else name)
        elif isinstance(name, str) and name.strip():
            # Not resolved: a link is judged by where it leads, and named as it is written.
            where = Path(os.path.normpath(root / name))
            if inside and not where.resolve().is_relative_to(root):
                outside.append(f"{name} (row {row})")
            table.sources.append(FileImage(where))
            table.names.append(name)
        else:
            odd.append(f"row {row} ({type(value).__name__})")
    problems = []
    if odd:
        problems.append(
            f"{path.name}: {len(odd)} of {len(columns[image])} rows have no path or image in column {image!r}: "
            f"{several(odd)}. Fill or remove them."
        )
    if outside:
        problems.append(
            f"{path.name}: {len(outside)} images lie outside its folder {root}: {several(outside)}. Write paths "
            "relative to the table, and put it where the images are."
        )
    if problems:
        raise HarnessError(*problems)
    if group is not None:
        table.groups = [str(value) for value in columns[group]]
    return table


def of_arrays(images: npt.NDArray[Any], labels: npt.NDArray[Any], where: str) -> ImageTable:
    """Make rows of arrays: images (n, h, w[, c]) and labels (n,), (n, 1), or one-hot (n, C).

    Raises:
        HarnessError: they are no images, or of different numbers.
    """
    notes: list[str] = []
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim == 2 and ((labels == 1).sum(axis=1) == 1).all() and ((labels == 0) | (labels == 1)).all():
        labels = labels.argmax(axis=1)
        notes.append(f"{where}: one-hot labels were read as class numbers.")
    if labels.ndim != 1:
        raise HarnessError(f"{where}: labels have the shape {labels.shape}, and one for each image is needed, (n,).")
    if len(labels) != len(images):
        raise HarnessError(f"{where} has {len(images)} images and {len(labels)} labels: one label an image is needed.")
    pixels, said = as_bytes(images, where)
    names = [f"row {row}" for row in range(len(pixels))]
    return ImageTable([ArrayImage(image) for image in pixels], names, labels.tolist(), notes=notes + said)


def read_npz(path: Path, image: str, label: str) -> dict[str, ImageTable]:
    """Read the splits of an npz file: arrays of the given names, or those of Keras and MedMNIST.

    Raises:
        HarnessError: it is not such a file, or lacks the arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as opened:
            if not hasattr(opened, "files"):
                raise HarnessError(
                    f"{path.name} holds one array, and images and labels are needed: save both by savez."
                )
            names = list(opened.files)
            if image in names and label in names:
                return {"train": of_arrays(opened[image], opened[label], f"{path.name} ({image})")}
            found = {
                split: next(((x, y) for x, y in pairs if x in names and y in names), None)
                for split, pairs in ARRAYS.items()
            }
            if found["train"] is None:
                raise HarnessError(
                    f"{path.name} has no arrays {image!r} and {label!r}. {nearest(image, names)} Choose with "
                    "task.image and task.label."
                )
            return {
                split: of_arrays(opened[pair[0]], opened[pair[1]], f"{path.name} ({pair[0]})")
                for split, pair in found.items()
                if pair is not None
            }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise HarnessError(f"{path.name} is not a readable npz file of plain arrays: {error}.") from None


def read_idx(path: Path) -> ImageTable:
    """Read a file of images in MNIST's format, and that of its labels beside it; both may be compressed by gzip.

    Raises:
        HarnessError: a file is missing or in another format.
    """
    name = path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    beside = [path.with_name(each) for each in (name, f"{name}.gz", name.removesuffix(".gz"))]
    labels = next((each for each in beside if each != path and each.is_file()), None)
    if labels is None:
        raise HarnessError(f"{path.name} needs its labels beside it: {name}.")
    return of_arrays(_idx(path, IDX_IMAGES), _idx(labels, IDX_LABELS), path.name)


def _idx(path: Path, magic: int) -> npt.NDArray[np.uint8]:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError) as error:
        raise HarnessError(f"{path.name} cannot be read: {error}.") from None
    if int.from_bytes(content[:4], "big") != magic:
        raise HarnessError(f"{path.name} is no IDX file of {'images' if magic == IDX_IMAGES else 'labels'}.")
    sides = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(magic % 256)]
    start = 4 + 4 * len(sides)
    if len(content) - start != int(np.prod(sides)):
        raise HarnessError(
            f"{path.name} is cut short or damaged: it says {' x '.join(map(str, sides))} bytes and holds "
            f"{len(content) - start:,}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sides)


def read_pixels(path: Path, shape: Sequence[int], label: str) -> ImageTable:
    """Read a table whose rows are pixels and a label, such as MNIST as CSV, with a header or without.

    Args:
        path: the table; compressed by its suffix.
        shape: height and width, or height, width and channels, in the order of the columns.
        label: name of the label's column; `first` or `last` by its place.

    Raises:
        HarnessError: it is no such table.
    """
    import pandas as pd

    try:
        first = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].tolist()
        header = any(not _is_number(value) for value in first)
        frame = pd.read_csv(path, header=0 if header else None)
    except (OSError, ValueError, EOFError, pd.errors.ParserError) as error:
        raise HarnessError(f"{path.name} cannot be read as a table of pixels: {error}.") from None
    size = int(np.prod(list(shape)))
    if frame.shape[1] != size + 1:
        raise HarnessError(
            f"{path.name} has {frame.shape[1]} columns, and task.image_shape=[{','.join(map(str, shape))}] makes "
            f"{size} pixels and a label: {size + 1}. Correct task.image_shape."
        )
    names = [str(name) for name in frame.columns]
    if label in ("first", "last") and label not in names:
        place = 0 if label == "first" else size
    elif header and label in names:
        place = names.index(label)
    else:
        raise HarnessError(
            f"{path.name} has no column {label!r}{'' if header else ': it has no header'}. Set task.label to first or "
            f"last{', or to the name of the column' if header else ''}."
        )
    pixels = frame.drop(columns=frame.columns[place])
    if odd := [str(name) for name, kind in pixels.dtypes.items() if kind.kind not in "iuf"]:
        raise HarnessError(f"{path.name}: pixels are numbers, and the columns {several(odd)} hold something else.")
    images = pixels.to_numpy().reshape(len(frame), *shape)
    return of_arrays(images, frame.iloc[:, place].to_numpy(), path.name)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
