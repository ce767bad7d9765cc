"""Sources of labeled images besides folders and tables of paths: arrays (npz, IDX), and tables of pixels."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.images import SUFFIXES, ArrayImage, BytesImage, FileImage, as_bytes
from harness.errors import HarnessError, nearest
from harness.formatting.examples import several
from harness.tasks.labeled_files import LabeledFiles, Medium

# Names of arrays in npz files, by split, as Keras and MedMNIST write them.
ARRAYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
IDX_IMAGES, IDX_LABELS = 2051, 2049  # magic numbers of unsigned bytes in three and one dimensions


IMAGES = Medium("image", SUFFIXES, FileImage, BytesImage)
ImageTable = LabeledFiles  # labeled images of one split


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
