"""Images: where one comes from, how it is decoded to RGB, and what is wrong with it."""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.formatting.examples import several

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PIXELS = 100_000_000  # most pixels of an image: a small file can claim more than memory holds
THREADS = 4  # decoding releases Python's lock
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # of files that clients send, as PIL names them
SLIMMEST = 50  # most times that one of their sides may be the other: a model may enlarge the short one, and all with it

_GRAY = "gray images were repeated in three channels"
_ALPHA = "transparent images were laid on white"
_CMYK = "CMYK images were converted to RGB"
_DEEP = "images of 16 bits were reduced to 8"
_TURNED = "images were turned as their EXIF orientation says"
_FIRST = "images hold several frames, of which the first was taken"


class BadImage(Exception):
    """An image that cannot be used; the message says why in a few words."""


class ImageSource(Protocol):
    """Where an image comes from."""

    def decoded(self) -> tuple[Any, frozenset[str]]:
        """Return the RGB image of PIL, and what was changed to make it one: ends of sentences that begin with a count.

        Raises:
            BadImage: it cannot be decoded.
        """

    def content(self) -> str:
        """Return the digest of the content, before decoding.

        Raises:
            BadImage: it cannot be read.
        """


@dataclass(frozen=True)
class FileImage:
    """An image file, or a rectangle (left, top, right, bottom) of one."""

    path: Path
    box: tuple[int, int, int, int] | None = None

    def decoded(self) -> tuple[Any, frozenset[str]]:
        """See `ImageSource`."""
        if self.box is None:
            return _decode(_bytes(self.path))
        image, changed = _whole(self.path)
        return image.crop(self.box), changed

    def content(self) -> str:
        """See `ImageSource`."""
        found = _file_digest(str(self.path), *_state(self.path))
        return found if self.box is None else _sha256(f"{found} {self.box}".encode())


@dataclass(frozen=True)
class BytesImage:
    """An image file in memory, as of a Parquet file."""

    data: bytes

    def decoded(self) -> tuple[Any, frozenset[str]]:
        """See `ImageSource`."""
        return _decode(self.data)

    def content(self) -> str:
        """See `ImageSource`."""
        return _sha256(self.data)


@dataclass(frozen=True)
class ArrayImage:
    """An image as an array, (h, w) or (h, w, 3), uint8."""

    array: npt.NDArray[np.uint8]

    def decoded(self) -> tuple[Any, frozenset[str]]:
        """See `ImageSource`."""
        from PIL import Image

        return Image.fromarray(np.ascontiguousarray(self.array)).convert("RGB"), frozenset()

    def content(self) -> str:
        """See `ImageSource`."""
        return _sha256(str(self.array.shape).encode() + np.ascontiguousarray(self.array).tobytes())


@dataclass(frozen=True)
class ReadyImage:
    """An image as a model reads it, decoded and resized beforehand.

    Attributes:
        pixels: (3, height, width) uint8.
        size: width and height of the image before.
    """

    pixels: npt.NDArray[np.uint8]
    size: tuple[int, int]


@dataclass(frozen=True)
class Checked:
    """What a check of images found.

    Attributes:
        digests: of the content of each image; None for one that cannot be used.
        bad: {index: why} of these.
        changes: {what was changed to make RGB images: number of images}.
        sizes: (n, 2) width and height; zeros for images that cannot be used.
    """

    digests: list[str | None]
    bad: dict[int, str]
    changes: dict[str, int]
    sizes: npt.NDArray[np.int64]


def check_images(sources: Sequence[ImageSource]) -> Checked:
    """Decode every image once, to find what cannot be used before any compute is spent."""

    def look(source: ImageSource) -> tuple[str | None, str, frozenset[str], tuple[int, int]]:
        try:
            digest = source.content()
            if isinstance(source, FileImage) and source.box is None:
                changed, size = _facts(str(source.path), *_state(source.path))
            else:
                image, changed = source.decoded()
                size = image.size
        except BadImage as error:
            return None, str(error), frozenset(), (0, 0)
        return digest, "", changed, size

    if any(isinstance(source, FileImage) and source.box for source in sources):
        found = [look(source) for source in sources]  # in order, so that rectangles of a file decode it once
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(look, sources))
    changes: dict[str, int] = {}
    for _, _, changed, _ in found:
        for what in sorted(changed):
            changes[what] = changes.get(what, 0) + 1
    sizes = np.array([size for *_, size in found], dtype=np.int64).reshape(-1, 2)
    return Checked(
        [digest for digest, *_ in found], {row: why for row, (_, why, *_) in enumerate(found) if why}, changes, sizes
    )


def open_all(references: Sequence[str], known: Mapping[str, ImageSource]) -> list[Any]:
    """Decode images.

    Args:
        references: n digests of known images, or paths of files.
        known: sources by digest.

    Returns:
        n RGB images of PIL.

    Raises:
        HarnessError: an image cannot be decoded; names the first ones.
    """

    def one(reference: str) -> Any:
        try:
            return (known.get(reference) or FileImage(Path(reference))).decoded()[0]
        except BadImage as error:
            return f"{reference} ({error})"

    found = [one(reference) for reference in references]
    if bad := [each for each in found if isinstance(each, str)]:
        raise HarnessError(
            f"{len(bad)} of {len(found)} images cannot be read: {several(bad)}. Mend or remove them, and start again."
        )
    return found


def received_image(data: bytes, most: int) -> Any:
    """Decode an image file that a client sent, to an RGB image of PIL.

    Only common formats are read: some of those that PIL knows start other programs.

    Args:
        data: the file.
        most: pixels that it may have.

    Raises:
        HarnessError: it cannot be decoded, has more pixels, or a side more than `SLIMMEST` times the other.
    """
    try:
        return _decode(data, most, FORMATS)[0]
    except BadImage as error:
        raise HarnessError(
            f"An image cannot be used ({error}): send a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at "
            f"most {most:,} pixels, no side more than {SLIMMEST} times the other."
        ) from None


def as_bytes(array: npt.NDArray[Any], where: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Convert an array of images to uint8 with channels last.

    Args:
        array: (n, h, w), (n, h, w, c) or (n, c, h, w), with c 1, 3 or 4; whole numbers of 8 or 16 bits, or fractions.
        where: name of the array, for messages.

    Returns:
        (n, h, w) or (n, h, w, 3), and sentences about what was converted.

    Raises:
        HarnessError: it holds no images.
    """
    notes: list[str] = []
    if array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3, 4):
        array = np.moveaxis(array, 1, -1)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (3, 4)) or 0 in array.shape:
        raise HarnessError(
            f"{where} has the shape {array.shape}, and images are (n, height, width) or (n, height, width, 3)."
        )
    if array.dtype.kind not in "biuf":
        raise HarnessError(f"{where} holds {array.dtype}, and images are numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise HarnessError(f"{where} holds values that are not finite. Correct or remove these images.")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 65535:
        raise HarnessError(f"{where} holds values from {low:g} to {high:g}; images are from 0 to 1, 255 or 65535.")
    if array.dtype == bool or (array.dtype.kind == "f" and high <= 1):
        array = np.rint(array.astype(np.float64) * 255)
        notes.append(f"{where}: values from 0 to 1 were multiplied by 255.")
    elif high > 255:
        array = array.astype(np.int64) // 257
        notes.append(f"{where}: values of 16 bits were reduced to 8.")
    array = np.asarray(np.rint(array) if array.dtype.kind == "f" else array).astype(np.uint8)
    if array.ndim == 4 and array.shape[-1] == 4:
        share = array[..., 3:].astype(np.float64) / 255
        array = np.rint(array[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
        notes.append(f"{where}: {_ALPHA}.")
    return array, notes


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage((error.strerror or str(error)).lower()) from None


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise BadImage(((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()) from None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # reading a pipe waits for whoever writes
        raise BadImage("a pipe or a device")
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=200_000)
def _file_digest(path: str, size: int, changed_ns: int) -> str:
    return _sha256(_bytes(Path(path)))


@lru_cache(maxsize=200_000)
def _facts(path: str, size: int, changed_ns: int) -> tuple[frozenset[str], tuple[int, int]]:
    """Decode a file to know that it can be; remembered, since each task on the file asks again."""
    image, changed = _decode(_bytes(Path(path)))
    return changed, image.size


@lru_cache(maxsize=8)
def _whole(path: Path) -> tuple[Any, frozenset[str]]:
    return _decode(_bytes(path))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _decode(data: bytes, most: int = PIXELS, formats: tuple[str, ...] | None = None) -> tuple[Any, frozenset[str]]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise BadImage("empty file")
    if data.startswith(b"version https://git-lfs"):
        raise BadImage("a Git LFS pointer, not the file itself")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's own limit is below; broken metadata does no harm
            image: Any = Image.open(io.BytesIO(data), formats=formats)
            _check_size(image, most, None if formats is None else SLIMMEST)
            # To count the frames of a file that a client made may take long.
            changed = {_FIRST} if formats is None and getattr(image, "n_frames", 1) > 1 else set()
            image.load()
            turned = ImageOps.exif_transpose(image)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("no image file") from None
    except Image.DecompressionBombError:  # PIL's own limit, which is higher
        raise BadImage(f"more than {most:,} pixels") from None
    except Exception as error:  # noqa: BLE001 -- decoders raise errors of many kinds for damaged files
        raise BadImage(_why(error)) from None
    changed |= {_TURNED} if image.getexif().get(274, 1) not in (0, 1) else set()
    return _rgb(turned, changed), frozenset(changed)


def _check_size(image: Any, most: int, slimmest: int | None) -> None:
    if image.width * image.height > most:
        raise BadImage(f"{image.width:,} x {image.height:,} pixels, more than {most:,}")
    if not image.width or not image.height:
        raise BadImage(f"{image.width} x {image.height} pixels")
    if slimmest is not None and max(image.size) > slimmest * min(image.size):
        raise BadImage(f"{image.width:,} x {image.height:,} pixels, a side more than {slimmest} times the other")


def _why(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "truncated" if "truncated" in said.lower() else said


def _rgb(image: Any, changed: set[str]) -> Any:
    """Convert an image of any mode to RGB, and add what was changed."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        changed.add(_ALPHA)
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
        low, high = float(array.min()), float(array.max())
        if not np.isfinite([low, high]).all() or low < 0 or high > 65535:
            raise BadImage(f"values from {low:g} to {high:g}, and images are from 0 to 1, 255 or 65535")
        # A file of 16 bits is one whatever its largest value; PIL gives some of them as 32 bits.
        scale = 255.0 if image.mode == "F" and high <= 1 else 1.0 if image.mode == "F" and high <= 255 else 1 / 257
        changed.add(_DEEP)
        return Image.fromarray(np.rint(array * scale).astype(np.uint8)).convert("RGB")
    if image.mode in ("L", "1"):
        changed.add(_GRAY)
    elif image.mode == "CMYK":
        changed.add(_CMYK)
    return image.convert("RGB")
