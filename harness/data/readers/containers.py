"""Detection of a file's real type by its first bytes: compressed, a container of tables, or unreadable."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePath

from harness.errors import HarnessError
from harness.formatting.examples import some

EXPORT = "Export its table as CSV (UTF-8), and name that file."
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
              b"\x04\x22\x4d\x18": "lz4", b"\x5d\x00\x00": "lzma"}  # fmt: skip
SUFFIXES = (".gz", ".gzip", ".bz2", ".xz", ".lzma", ".zst", ".zstd", ".lz4", ".zip")
BINARY = {  # first bytes of unsupported formats -> what the file is
    b"SQLite format 3\x00": "an SQLite database",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document (.xls or .doc)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\x1f\x9d": "a file that compress (.Z) made",
    b"RDX": "an R workspace",
    b"RDA": "an R workspace",
    b"$FL2": "an SPSS file",
    b"<stata_dta>": "a Stata file",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x7fELF": "a program",
    b"PK\x05\x06": "an empty ZIP archive",
}
NO_DATA = {  # beginnings of texts that are not data -> what the file is and what to do
    b"version https://git-lfs": (
        "a Git LFS pointer, not the file itself. Fetch it: git lfs pull"
    ),
    b"<!doctype html": "a web page, not data. Download the file itself, not the page that shows it.",
    b"<?xml": f"an XML document, which cannot be read. {EXPORT}",
    b"<html": "a web page, not data. Download the file itself, not the page that shows it.",
    b"{\\rtf": f"an RTF document, not data. {EXPORT}",
}  # fmt: skip


def unpack(content: bytes, where: str) -> tuple[bytes, str]:
    """Decompress a file's content if it is compressed.

    Args:
        content: the file's bytes.
        where: its name, for messages.

    Returns:
        The decompressed bytes, and a name whose suffix gives their format: without `.gz`, or of a ZIP's only member.

    Raises:
        HarnessError: the file is damaged, or a ZIP that does not contain exactly one data file.
    """
    name = where
    for _ in range(4):  # files may be compressed twice by mistake, but hardly more often
        kind = next((kind for mark, kind in COMPRESSED.items() if content.startswith(mark)), None)
        if content.startswith(b"PK\x03\x04"):
            content, name = _member(content, where)
        elif kind is not None:
            content = _decompress(content, kind, where)
            name = PurePath(name).stem if name.lower().endswith(SUFFIXES) else name
        else:
            break
    return content, name


def _decompress(content: bytes, kind: str, where: str) -> bytes:
    ways: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
        "lzma": lzma.decompress,
    }
    try:
        return ways[kind](content) if kind in ways else _by_arrow(content, kind)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise HarnessError(
            f"{where} is compressed by {kind} and cannot be decompressed ({error}): it is damaged or cut off. Copy or "
            "download it again."
        ) from error


def _by_arrow(content: bytes, kind: str) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(content), kind) as stream:
        data: bytes = stream.read()
    return data


def _member(content: bytes, where: str) -> tuple[bytes, str]:
    """Return the only data file of a ZIP archive, and its name."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [
                name
                for name in archive.namelist()
                if not name.endswith("/")
                and not name.startswith("__MACOSX/")
                and not PurePath(name).name.startswith((".DS_Store", "._"))
            ]
            for inner, kind in (("xl/workbook.xml", "an Excel workbook"), ("xl/workbook.bin", "an Excel workbook"),
                                ("word/document.xml", "a Word document"),
                                ("content.xml", "an OpenDocument file")):  # fmt: skip
                if inner in names:
                    raise HarnessError(f"{where} is {kind}, which cannot be read. {EXPORT}")
            if len(names) != 1:
                raise HarnessError(
                    f"{where} is a ZIP archive of {len(names)} files ({some(sorted(names)) or 'none'}), and one is "
                    "needed. Unpack it, and name the file."
                )
            return archive.read(names[0]), PurePath(names[0]).name
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError: the archive needs a password.
        raise HarnessError(
            f"{where} is a ZIP archive that cannot be unpacked ({error}). Unpack it yourself."
        ) from error


def tables(content: bytes) -> str | None:
    """Return the table format by the content: `parquet`, `arrow`, or None for any other."""
    if content.startswith(b"PAR1") and (content.endswith((b"PAR1", b"PARE")) or not is_text(content)):
        return "parquet"  # a truncated file has no end mark
    if content.startswith((b"ARROW1\x00\x00", b"FEA1", b"\xff\xff\xff\xff")):
        return "arrow"
    return None


def refuse_foreign(content: bytes, where: str) -> None:
    """Raise a `HarnessError` if the file has a known but unsupported type."""
    for mark, name in BINARY.items():
        if content.startswith(mark) and not (len(mark) < 5 and is_text(content)):
            raise HarnessError(f"{where} is {name}, which cannot be read. {EXPORT}")
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise HarnessError(
            f"{where} is a Python pickle, which can run any program when it is read. Write the table as CSV or Parquet "
            "where it comes from, and name that file."
        )
    if content[257:262] == b"ustar":
        raise HarnessError(f"{where} is a tar archive. Unpack it, and name the file.")
    start = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, told in NO_DATA.items():
        if start.startswith(mark.lower()):
            raise HarnessError(f"{where} is {told}")


def is_text(content: bytes) -> bool:
    """Whether bytes can be UTF-8 text."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in content
