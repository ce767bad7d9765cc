"""Annotations of Pascal VOC's form: an XML file an image, and lists of the images of each split."""

from __future__ import annotations

import glob
import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from harness.errors import HarnessError

ANNOTATIONS, IMAGES, LISTS = "Annotations", "JPEGImages", Path("ImageSets", "Main")
SPLIT_FILES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
BOTH = "trainval.txt"  # training and validation images
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")  # in small letters or in capitals
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObject:
    """An object of an annotation.

    Attributes:
        label: its class.
        box: left, top, right, bottom in pixels, the first two counted from 0, the last two not within the box.
        difficult: whether it is marked as hard to recognize, and not counted by VOC.
    """

    label: str
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class VocImage:
    """An annotated image.

    Attributes:
        path: of the image.
        size: width and height that the annotation states; None if it states none.
        objects: of the image.
    """

    path: Path
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def split_lists(folder: Path) -> dict[str, list[str]]:
    """Return the names of the images of each split; without lists, all annotated images as training images.

    Args:
        folder: with Annotations and JPEGImages, and perhaps ImageSets/Main; or with XML files beside images.

    Raises:
        HarnessError: a list cannot be read, or there are lists and none of training images.
    """
    files = {split: folder / LISTS / name for split, name in SPLIT_FILES.items()}
    found = {split: file for split, file in files.items() if file.is_file()}
    if not found:
        # Copies by a Mac have a hidden ._a.xml beside each a.xml, which is no XML.
        xml = annotations_folder(folder).glob("[!.]*.xml")
        return {"train": sorted(file.stem for file in xml)}
    if "train" not in found:
        both = folder / LISTS / BOTH
        if "validation" in found or not both.is_file():
            raise HarnessError(
                f"{folder / LISTS} lists images of {' and '.join(found)} and none to train on: add "
                f"{SPLIT_FILES['train']}, or {BOTH} in place of it and of {SPLIT_FILES['validation']}."
            )
        found["train"] = both
    return {split: _names(file) for split, file in found.items()}


def _names(file: Path) -> list[str]:
    """Return the names of a list, one a line; a name may have spaces."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise HarnessError(f"{file} cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from None
    return [name for name in map(str.strip, lines) if name]


def annotations_folder(folder: Path) -> Path:
    """Return the folder of the XML files."""
    return folder / ANNOTATIONS if (folder / ANNOTATIONS).is_dir() else folder


def read_annotation(folder: Path, name: str) -> VocImage:
    """Read the annotation of an image.

    Args:
        folder: see `split_lists`.
        name: of the image, without a suffix.

    Raises:
        HarnessError: it cannot be read, has no image, or leads out of the folder; names the image, and why.
    """
    file = annotations_folder(folder) / f"{name}.xml"
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise HarnessError(f"{name} (leads out of the folder)")
        root = _parsed(file.read_bytes())
        below = folder / IMAGES if (folder / IMAGES).is_dir() else folder
        image = _image(below, name)
        width, height = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
        objects = tuple(_object(each) for each in root.iter("object"))
    except FileNotFoundError:
        raise HarnessError(f"{name} (no {file.name}; lists name images without folders, suffixes and flags)") from None
    except (OSError, ValueError, OverflowError, LookupError, RuntimeError, ElementTree.ParseError) as error:
        # LookupError: an encoding that is not known; RuntimeError: a link that leads to itself.
        raise HarnessError(f"{name} ({getattr(error, 'strerror', None) or error})") from None
    if not image.resolve().is_relative_to(folder.resolve()):
        raise HarnessError(f"{name} (its image leads out of the folder)")
    return VocImage(image, (width, height) if width and height else None, objects)


def _image(folder: Path, name: str) -> Path:
    """Return the image of an annotation.

    Raises:
        ValueError: there is none, or there are several.
    """
    suffixes = (*SUFFIXES, *map(str.upper, SUFFIXES))
    found = [path for path in (folder / f"{name}{suffix}" for suffix in suffixes) if path.is_file()]
    if not found:  # with a suffix in another spelling, such as .Png
        found = [path for path in folder.glob(f"{glob.escape(name)}.*") if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"no image in {folder.name}, with one of {', '.join(SUFFIXES)}")
    several = {(path.stat().st_dev, path.stat().st_ino): path.name for path in found}  # some disks ignore the case
    if len(several) > 1:
        raise ValueError(f"several images: {', '.join(several.values())}")
    return found[0]


def _parsed(content: bytes) -> ElementTree.Element:
    """Parse XML that declares nothing: a few lines of declarations can expand to gigabytes, or name other files."""
    if b"\x00" in content:
        raise ValueError("is no UTF-8 text: save it as UTF-8")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("declares a document type or entities, which annotations have no use for")
    root = ElementTree.fromstring(content)
    if root.tag != "annotation" or any(each.tag.lower() == "object" != each.tag for each in root.iter()):
        raise ValueError(f"is no annotation of VOC's form, <annotation> with <object>: its root is <{root.tag}>")
    return root


def _object(node: ElementTree.Element) -> VocObject:
    label = (node.findtext("name") or "").strip()
    texts = [node.findtext(f"bndbox/{key}") for key in CORNERS]
    if not label:
        raise ValueError("an object without a name")
    if None in texts:
        raise ValueError(f"an object without {', '.join(CORNERS)}: {label}")
    left, top, right, bottom = (float(text or "") for text in texts)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"an object with a corner that is no number: {label}")
    # VOC counts pixels from 1, and the last one belongs to the box.
    return VocObject(label, (left - 1, top - 1, right, bottom), _is_true(node.findtext("difficult")))


def _is_true(text: str | None) -> bool:
    """Return what a flag says; VOC writes 0 and 1, other programs false and true."""
    return (text or "0").strip().lower() in ("1", "true", "yes")
