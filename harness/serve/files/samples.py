"""Small files that examples show, and that a model is tried on when it is loaded."""

from __future__ import annotations

import base64
import io

import numpy as np

IMAGE, SOUND = "image", "sound"  # kinds of files, and the fields of requests that hold one
FILES = (IMAGE, SOUND)
_RATE, _SAMPLES = 8000, 160  # of the sound, in Hz; its length
# First bytes of files, after a number of others, and the suffix of such a file.
_STARTS = (
    (0, b"\x89PNG", ".png"), (0, b"\xff\xd8\xff", ".jpg"), (0, b"GIF8", ".gif"), (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"), (0, b"II*\0", ".tif"), (0, b"MM\0*", ".tif"), (8, b"WAVE", ".wav"), (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"), (0, b"ID3", ".mp3"), (0, b"\xff\xfb", ".mp3"),
)  # fmt: skip


def sample(kind: str) -> bytes:
    """Return a small PNG or WAV file."""
    if kind == SOUND:
        from harness.data.sounds import wav

        return wav(np.zeros(_SAMPLES, np.float32), _RATE)
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(content, "PNG")
    return content.getvalue()


def encoded_sample(kind: str) -> str:
    """Return it as base64."""
    return base64.b64encode(sample(kind)).decode()


def suffix_of(data: bytes, kind: str) -> str:
    """Return the usual suffix of a file, by its first bytes."""
    known = (suffix for start, mark, suffix in _STARTS if data[start : start + len(mark)] == mark)
    return next(known, ".ppm" if kind == IMAGE else ".mp3")
