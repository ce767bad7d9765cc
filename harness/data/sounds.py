"""Sounds: where one comes from, how it is decoded to one channel of samples, and what is wrong with it."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.formatting.examples import several

SUFFIXES = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")
RATES = (1_000, 384_000)  # Hz: lowest and highest sampling rate of a sound
CHANNELS = 64  # most channels of a sound
FRACTION = 20_000  # largest number in the reduced fraction of two rates: the filter between them has 20 taps for each 1
BLOCK = 1 << 18  # frames that are decoded together when a sound is checked
THREADS = 4  # decoding releases Python's lock
INSTALL = "pip install 'harness[speech]'"

_MIXED = "sounds were mixed from several channels to one"
# What libsndfile says of a file that ends too early.
_SHORT = re.compile(r"data : (\d+) \(should be (\d+)\)")
_STREAMED = 0xFFFFFF00  # programs that write to a pipe do not know the length and write about 2**32
_PAGE, _LAST_PAGE = b"OggS", 4  # start of an Ogg page, and the bit of its flags that ends a stream
_ESTIMATED = 0.95  # the length that an MP3 file gives is an estimate

Samples = npt.NDArray[np.float32]


class BadSound(Exception):
    """A sound that cannot be used; the message says why in a few words."""


@dataclass(frozen=True)
class Facts:
    """What a check of one sound found.

    Attributes:
        rate: samples a second, in Hz.
        seconds: its length.
        changed: what is changed to make it one channel: ends of sentences that begin with a count.
        silent: whether all samples are zero.
    """

    rate: int
    seconds: float
    changed: frozenset[str] = frozenset()
    silent: bool = False


class SoundSource(Protocol):
    """Where a sound comes from."""

    def decoded(self, seconds: float) -> tuple[Samples, int]:
        """Return its first seconds, as one channel of samples from -1 to 1, and their rate in Hz.

        Raises:
            BadSound: it cannot be decoded.
        """

    def facts(self) -> Facts:
        """Decode all of it, to know that it can be.

        Raises:
            BadSound: it cannot be decoded.
        """

    def content(self) -> str:
        """Return the digest of the content, before decoding.

        Raises:
            BadSound: it cannot be read.
        """


@dataclass(frozen=True)
class FileSound:
    """A sound file."""

    path: Path

    def decoded(self, seconds: float) -> tuple[Samples, int]:
        """See `SoundSource`."""
        return _first(_bytes(self.path), seconds)

    def facts(self) -> Facts:
        """See `SoundSource`."""
        return _facts_of_file(str(self.path), *_state(self.path))

    def content(self) -> str:
        """See `SoundSource`."""
        return _file_digest(str(self.path), *_state(self.path))


@dataclass(frozen=True)
class BytesSound:
    """A sound file in memory, as of a Parquet file."""

    data: bytes

    def decoded(self, seconds: float) -> tuple[Samples, int]:
        """See `SoundSource`."""
        return _first(self.data, seconds)

    def facts(self) -> Facts:
        """See `SoundSource`."""
        return _whole(self.data)[0]

    def content(self) -> str:
        """See `SoundSource`."""
        return _sha256(self.data)


@dataclass(frozen=True)
class ArraySound:
    """Samples (n,) of one channel, float32, and their rate in Hz."""

    array: Samples
    rate: int

    def decoded(self, seconds: float) -> tuple[Samples, int]:
        """See `SoundSource`."""
        return self.array[: _frames(seconds, self.rate)], self.rate

    def facts(self) -> Facts:
        """See `SoundSource`."""
        return Facts(self.rate, len(self.array) / self.rate, silent=not self.array.any())

    def content(self) -> str:
        """See `SoundSource`."""
        return _sha256(str(self.rate).encode() + np.ascontiguousarray(self.array).tobytes())


@dataclass(frozen=True)
class Checked:
    """What a check of sounds found.

    Attributes:
        digests: of the content of each sound; None for one that cannot be used.
        bad: {index: why} of these.
        facts: of each sound; None for one that cannot be used.
    """

    digests: list[str | None]
    bad: dict[int, str]
    facts: list[Facts | None]

    @property
    def changes(self) -> dict[str, int]:
        """{What was changed to make one channel: number of sounds}."""
        return dict(Counter(what for each in self.facts if each for what in sorted(each.changed)))


def check_sounds(sources: Sequence[SoundSource]) -> Checked:
    """Decode every sound once, to find what cannot be used before any compute is spent.

    Raises:
        HarnessError: there are sound files, and soundfile is not installed.
    """
    if any(not isinstance(each, ArraySound) for each in sources):
        need_soundfile()

    def look(source: SoundSource) -> tuple[str | None, str, Facts | None]:
        try:
            return source.content(), "", source.facts()
        except BadSound as error:
            return None, str(error), None

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(look, sources))
    return Checked(
        [digest for digest, *_ in found],
        {row: why for row, (_, why, _) in enumerate(found) if why},
        [facts for *_, facts in found],
    )


def open_all(
    references: Sequence[str | ArraySound], known: Mapping[str, SoundSource], rate: int, seconds: float
) -> list[Samples]:
    """Decode and resample sounds.

    Args:
        references: n digests of known sounds, paths of files, or sounds.
        known: sources by digest.
        rate: samples a second of what is returned, in Hz.
        seconds: what follows after these is left out.

    Returns:
        n arrays of samples, one or more each.

    Raises:
        HarnessError: a sound cannot be decoded; names the first ones.
    """

    def one(reference: Any) -> Any:
        ready = reference if isinstance(reference, ArraySound) else known.get(reference)
        try:
            samples, own = (ready or FileSound(Path(reference))).decoded(seconds)
        except BadSound as error:
            return f"{reference} ({error})"
        return resampled(samples, own, rate)[: _frames(seconds, rate)]

    found = [one(reference) for reference in references]
    if bad := [each for each in found if isinstance(each, str)]:
        raise HarnessError(
            f"{len(bad)} of {len(found)} sounds cannot be read: {several(bad)}. Mend or remove them, and start again."
        )
    return found


def received_sound(data: bytes, rate: int, seconds: float, most: float) -> ArraySound:
    """Decode and resample a sound file that a client sent.

    Args:
        data: the file.
        rate: samples a second of what is returned, in Hz.
        seconds: what follows after these is left out.
        most: seconds that it may have.

    Raises:
        HarnessError: it cannot be decoded, is longer or of an odd rate, or soundfile is not installed.
    """
    need_soundfile()
    try:
        facts, parts = _whole(data, most, seconds, rate)
    except BadSound as error:
        raise HarnessError(
            f"A sound cannot be used ({error}): send a whole WAV, FLAC, OGG or MP3 file of at most {most:g} seconds."
        ) from None
    return ArraySound(resampled(np.concatenate(parts), facts.rate, rate)[: _frames(seconds, rate)], rate)


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """Change the sampling rate of samples (n,) by a polyphase filter that keeps lower frequencies only."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    made: Samples = resample_poly(samples, wanted // common, rate // common).astype(np.float32)
    return made


def wav(samples: Samples, rate: int) -> bytes:
    """Return samples (n,) from -1 to 1 as a WAV file of 16 bits, by the standard library alone."""
    import wave

    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return content.getvalue()


def need_soundfile() -> None:
    """Check that the package that decodes sound files is installed.

    Raises:
        HarnessError: it is not.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise HarnessError(f"Sound files are decoded by soundfile, which is not installed: {INSTALL}.")


def _frames(seconds: float, rate: int) -> int:
    return max(1, round(seconds * rate))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSound((error.strerror or str(error)).lower()) from None


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise BadSound(((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()) from None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # reading a pipe waits for whoever writes
        raise BadSound("a pipe or a device")
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=200_000)
def _file_digest(path: str, size: int, changed_ns: int) -> str:
    return _sha256(_bytes(Path(path)))


@lru_cache(maxsize=200_000)
def _facts_of_file(path: str, size: int, changed_ns: int) -> Facts:
    """Decode a file to know that it can be; remembered, since each task on the file asks again."""
    return _whole(_bytes(Path(path)))[0]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _opened(data: bytes) -> Any:
    import soundfile

    if not data:
        raise BadSound("empty file")
    if data.startswith(b"version https://git-lfs"):
        raise BadSound("a Git LFS pointer, not the file itself")
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.SoundFileError as error:
        malformed = "malformed" in str(error)
        raise BadSound("truncated or damaged" if malformed else "no sound file that can be read") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadSound(str(error)) from None
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise BadSound(f"{file.samplerate:,} samples a second, and {RATES[0]:,} to {RATES[1]:,} are read")
    if file.channels > CHANNELS:
        raise BadSound(f"{file.channels} channels, more than {CHANNELS}")
    return file


def _first(data: bytes, seconds: float) -> tuple[Samples, int]:
    import soundfile

    file = _opened(data)
    left, parts = _frames(seconds, file.samplerate), list[Samples]()
    try:
        # In parts: a sound may have many channels.
        while left > 0 and len(block := file.read(min(left, BLOCK), dtype="float32", always_2d=True)):
            parts.append(block.mean(axis=1))
            left -= len(block)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise BadSound(_why(error)) from None
    if not parts:
        raise BadSound("no samples")
    return np.concatenate(parts), int(file.samplerate)


def _whole(data: bytes, most: float = inf, seconds: float = 0, wanted: int = 0) -> tuple[Facts, list[Samples]]:
    """Decode all of a file of at most so many seconds; its first ones, as one channel, may be wanted, at a rate."""
    import soundfile

    file = _opened(data)
    own, parts = int(file.samplerate), list[Samples]()
    if max(own, wanted) // gcd(own, wanted) > FRACTION:
        raise BadSound(f"{own:,} samples a second, no simple multiple of the {wanted:,} that the model reads")
    count, loudest, left = 0, 0.0, _frames(seconds, own) if seconds else 0
    try:
        # `SoundFile.blocks` would fill the last block of a file that ends too early.
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            if not np.isfinite(block).all():
                raise BadSound("samples that are not finite")
            count += len(block)
            if count > most * file.samplerate:
                raise BadSound(f"longer than {most:g} seconds")
            loudest = max(loudest, float(np.abs(block).max(initial=0.0)))
            parts += [block[:left].mean(axis=1)] if left > 0 else []
            left -= len(block)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise BadSound(_why(error)) from None
    said = str(file.extra_info)
    short = _SHORT.search(said)
    promised = file.frames * (_ESTIMATED if file.format == "MP3" else 1)
    if count < promised or _lacks_last_page(data) or (short and int(short[2]) < int(short[1]) < _STREAMED):
        raise BadSound("truncated")
    if not count:
        raise BadSound("no samples")
    changed = frozenset({_MIXED} if file.channels > 1 else ())
    return Facts(own, count / own, changed, silent=loudest == 0), parts


def _lacks_last_page(data: bytes) -> bool:
    """Return whether an Ogg file ends before its last page, or within it."""
    if not data.startswith(_PAGE):
        return False
    last = data.rfind(_PAGE)
    segments = data[last + 26] if len(data) > last + 26 else 0
    size = 27 + segments + sum(data[last + 27 : last + 27 + segments])
    return not data[last + 5 : last + 6] or not data[last + 5] & _LAST_PAGE or len(data) < last + size


def _why(error: Exception) -> str:
    said = str(error).removeprefix("Error : ").rstrip(".")
    return "truncated or damaged" if "lost sync" in said else said
