"""Images of every kind become RGB, are told, or are refused in a few words; nothing is taken that is damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.images import (
    SLIMMEST,
    ArrayImage,
    BadImage,
    BytesImage,
    FileImage,
    as_bytes,
    check_images,
    open_all,
    received_image,
)
from harness.errors import HarnessError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """Return a PNG whose header claims 60,000 x 60,000 pixels, or others."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        chunk = name + content
        parts.append(struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return b"".join(parts)


JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)), "JPEG")


@pytest.mark.parametrize(
    ("image", "expected", "told"),
    [
        (Image.new("L", (3, 2), 100), (100, 100, 100), "gray"),
        (Image.new("1", (3, 2), 1), (255, 255, 255), "gray"),
        (Image.new("RGBA", (3, 2), (255, 0, 0, 0)), (255, 255, 255), "transparent"),
        (Image.new("RGBA", (3, 2), (200, 0, 0, 255)), (200, 0, 0), "transparent"),
        (Image.new("LA", (3, 2), (0, 0)), (255, 255, 255), "transparent"),
        (Image.fromarray(np.full((2, 3), 257 * 40, np.uint16)), (40, 40, 40), "16 bits"),
        (Image.fromarray(np.full((2, 3), 200, np.uint16)), (1, 1, 1), "16 bits"),
    ],
)
def test_modes_become_rgb_and_are_told(image: Image.Image, expected: tuple[int, int, int], told: str) -> None:
    decoded, changed = BytesImage(encoded(image)).decoded()
    assert decoded.mode == "RGB" and decoded.size == (3, 2)
    assert decoded.getpixel((0, 0)) == expected
    assert len(changed) == 1 and told in next(iter(changed))


def test_cmyk_and_palettes() -> None:
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    decoded, changed = BytesImage(encoded(cmyk, "JPEG")).decoded()
    assert decoded.getpixel((0, 0))[0] > 200 and any("CMYK" in each for each in changed)
    palette = Image.new("RGB", (4, 4), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    decoded, changed = BytesImage(encoded(palette)).decoded()
    assert decoded.getpixel((0, 0)) == (10, 200, 30) and not changed  # nothing is lost


def test_orientation_and_frames_are_told() -> None:
    turned = Image.new("RGB", (6, 2), "red")
    exif = turned.getexif()
    exif[274] = 6
    decoded, changed = BytesImage(encoded(turned, "JPEG", exif=exif)).decoded()
    assert decoded.size == (2, 6) and any("EXIF" in each for each in changed)
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decoded, changed = BytesImage(content).decoded()
    assert decoded.getpixel((0, 0))[0] > 200 and any("frames" in each for each in changed)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (encoded(Image.new("RGB", (50, 50), "red"))[:60], "truncated|broken"),
        (b"no image at all", "no image file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bomb(), "more than 100,000,000 pixels"),
        (bomb(12_000), "12,000 x 12,000 pixels, more than 100,000,000"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, why: str) -> None:
    with pytest.raises(BadImage, match=why):
        BytesImage(content).decoded()


def test_a_slim_image_of_a_client_is_refused() -> None:
    """A model that enlarges the short side would enlarge the long one as much; files of a task are not refused."""
    assert received_image(encoded(Image.new("RGB", (SLIMMEST, 1))), 1000).size == (SLIMMEST, 1)
    for size in ((1, SLIMMEST + 1), (2 * SLIMMEST + 1, 2)):
        content = encoded(Image.new("L", size))
        with pytest.raises(HarnessError, match=f"{size[0]} x {size[1]} pixels, a side more than 50 times the other"):
            received_image(content, 1000)
        assert BytesImage(content).decoded()[0].size == size


def test_checks_name_what_is_bad(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.jpg", tmp_path / "cut.jpg"
    good.write_bytes(JPEG)
    cut.write_bytes(JPEG[:400])
    found = check_images(
        [FileImage(good), FileImage(cut), FileImage(tmp_path / "gone.jpg"), FileImage(good, (0, 0, 9, 8))]
    )
    assert set(found.bad) == {1, 2} and found.digests[0] != found.digests[3]
    assert found.sizes.tolist() == [[40, 40], [0, 0], [0, 0], [9, 8]]
    # A file that is mended is read again.
    cut.write_bytes(JPEG)
    assert not check_images([FileImage(cut)]).bad
    with pytest.raises(HarnessError, match=r"1 of 2 images cannot be read: .*gone\.jpg \(no such file"):
        open_all([str(good), str(tmp_path / "gone.jpg")], {})


def test_equal_arrays_of_other_shape_differ() -> None:
    flat = np.arange(12, dtype=np.uint8)
    assert ArrayImage(flat.reshape(3, 4)).content() != ArrayImage(flat.reshape(4, 3)).content()


@pytest.mark.parametrize(
    ("array", "first", "told"),
    [
        (np.full((2, 3, 3), 7, np.uint8), 7, False),
        (np.full((2, 3, 3, 1), 7, np.int64), 7, False),
        (np.full((2, 3, 5, 4), 7, np.uint8), 7, False),  # channels first: 3 of 5 x 4
        (np.full((2, 3, 3), 0.5), 128, True),
        (np.full((2, 3, 3), 514, np.uint16), 2, True),
        (np.ones((2, 3, 3), bool), 255, True),
        (np.full((2, 3, 3, 4), 255, np.uint8), 255, True),
    ],
)
def test_arrays_become_bytes(array: np.ndarray, first: int, told: bool) -> None:
    made, notes = as_bytes(array, "x")
    if array.shape == (2, 3, 5, 4):
        made, notes = as_bytes(np.moveaxis(array, -1, 2), "x")  # (2, 3, 4, 5)
        assert made.shape == (2, 4, 5, 3)
    assert made.dtype == np.uint8 and made.flat[0] == first and bool(notes) == told


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5)),
        np.zeros((2, 0, 3)),
        np.full((2, 3, 3), -1),
        np.full((2, 3, 3), np.nan),
        np.full((2, 3, 3), "a"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray) -> None:
    with pytest.raises(HarnessError, match="x "):
        as_bytes(array, "x")
