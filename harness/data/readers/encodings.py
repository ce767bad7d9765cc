"""Decoding of text files, and suggestion of likely encodings if the declared one is wrong."""

from __future__ import annotations

import codecs
import re

from harness.errors import HarnessError
from harness.formatting.examples import MOST, short

USUAL = "utf-8, utf-16, cp1252, gb18030, shift_jis"
NO_FILES = ("punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape")  # codecs that are not for files
EAST_ASIAN = {"gb18030": "gb18030", "big5": "big5", "cp932": "shift_jis", "euc_jp": "euc-jp", "cp949": "euc-kr"}
ONE_BYTE = ("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "tis_620", "koi8_r", "iso8859_2",
            "iso8859_5", "mac_roman", "cp850", "cp866")  # fmt: skip
LATIN = ("cp1252", "cp1250", "cp1254", "iso8859_2", "mac_roman", "cp850")  # of `ONE_BYTE`
ESCAPED = {b"\x1b$)C": "iso2022_kr", b"\x1b$": "iso2022_jp"}  # by escape sequences, which are ASCII
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
MARKS = {  # longest first, since UTF-16's little-endian mark is a prefix of UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAMPLE = 1 << 18  # number of bytes by which candidates are ranked


def encoding_problem(encoding: str) -> str | None:
    """Return what is wrong with the name of an encoding; None if it is valid."""
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):  # ValueError: the name contains invalid characters
        return f"Unknown task.encoding {encoding}. Usual ones: {USUAL}."
    # bytes.decode checks the same flag; `base64` and similar codecs convert bytes to bytes.
    if not getattr(found, "_is_text_encoding", True) or found.name.replace("-", "_") in NO_FILES:
        return f"task.encoding={encoding} is not an encoding of text files. Usual ones: {USUAL}."
    return None


def decode(content: bytes, encoding: str, where: str) -> str:
    """Decode a file's content.

    Args:
        content: the bytes.
        encoding: the declared encoding.
        where: the file's name, for messages.

    Returns:
        The text, without a byte order mark.

    Raises:
        HarnessError: the bytes do not have this encoding; the message gives the places and likely encodings.
    """
    if problem := encoding_problem(encoding):
        raise HarnessError(problem)
    name = codecs.lookup(encoding).name
    try:
        text = content.decode(encoding).removeprefix("\ufeff")  # spreadsheets start UTF-8 files with a byte order mark
    except UnicodeDecodeError:
        raise HarnessError(_not_decodable(content, encoding, where)) from None
    except UnicodeError as error:  # invalid length for UTF-16 or UTF-32
        raise HarnessError(f"{where} is not {encoding}: {error}. {_advice(content, name)}") from None
    if name.startswith(("utf-16", "utf-32")):
        _check_wide(content, text, encoding, where)
    # Published data sets declare latin-1 for texts of UTF-8, and results were signed with what it reads.
    elif not name.startswith("utf") and name != "iso8859-1" and _is_utf8(content):
        raise HarnessError(f"{where} is not {encoding}: all its characters beyond ASCII are those of UTF-8. Set "
                           "task.encoding=utf-8.")  # fmt: skip
    elif b"\x00" in content:
        raise HarnessError(_with_nulls(content, text, where, name))
    elif not name.startswith(("iso2022", "hz")) and (escaped := _escaped(content)):
        raise HarnessError(f"{where} is not {encoding}: it holds the escape sequences of {escaped}. Set "
                           f"task.encoding={escaped}.")  # fmt: skip
    return text


def encoding_note(content: bytes, encoding: str, where: str) -> str | None:
    """Return a note for the user if a file read in an encoding of one byte a character may be UTF-8; else None.

    Args:
        content: the bytes, which `decode` has accepted.
        encoding: the declared encoding.
        where: the file's name.
    """
    name = codecs.lookup(encoding).name
    if not name.startswith("iso8859") and name not in ONE_BYTE:
        return None
    text = _try(content, "utf-8")
    if text is None or text.isascii():
        return None
    place = next(place for place, character in enumerate(text) if not character.isascii())
    read = content.decode(encoding)[place : place + len(text[place].encode())]
    return (
        f"{where} is read as {encoding}, and its bytes are also valid UTF-8: {text[place]!r} is read as {read!r}. If "
        "that is wrong, set task.encoding=utf-8."
    )


def _not_decodable(content: bytes, encoding: str, where: str) -> str:
    """Return a message with the places where decoding fails, and likely encodings."""
    places: list[int] = []
    skipped = 0

    def note(error: UnicodeError) -> tuple[str, int]:
        nonlocal skipped
        assert isinstance(error, UnicodeDecodeError)
        places.append(error.start)
        skipped += error.end - error.start
        return "", error.end

    codecs.register_error("harness.note", note)
    rest = content.decode(encoding, "harness.note")
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    lines = [content.count(b"\n", 0, place) + 1 for place in places[:MOST]]
    listed = ", ".join(
        f"byte 0x{content[place]:02x} at position {place}" + ("" if wide else f" (line {line})")
        for place, line in zip(places, lines, strict=False)
    )
    more = ", ..." if len(places) > MOST else ""
    count = f"{len(places)} place{'s' * (len(places) > 1)}"
    told = f"{where} is not {encoding}: at {count} it cannot be decoded: {listed}{more}. "
    good = sum(ord(character) > 127 for character in rest)
    if codecs.lookup(encoding).name == "utf-8" and good > 2 * len(places) and b"\x00" not in content:
        end = (
            " The file ends within a character: it may be incomplete."
            if skipped and places[-1] + 4 > len(content)
            else ""
        )
        return told + (
            f"The other {good} characters beyond ASCII are right, so it is UTF-8 that is damaged there.{end} Mend or "
            "remove these lines; another encoding would ruin the others."
        )
    return told + _advice(content, codecs.lookup(encoding).name)


def _advice(content: bytes, declared: str) -> str:
    fitting = candidates(content, declared)
    if not fitting and (mark := next((name for mark, name in MARKS.items() if content.startswith(mark)), None)):
        return f"It begins like {mark}, but is not all of that: it may be incomplete. Copy it or write it again."
    if not fitting:
        return (
            "No usual encoding decodes it: it may be damaged, or not text. Write it again as UTF-8 where it comes from."
        )
    first = next(iter(fitting))
    listed = ", ".join(name + (f" (there: {excerpt})" if excerpt else "") for name, excerpt in fitting.items())
    return f"It can be read as {listed}: set task.encoding={first}" + (
        " if that reads right." if any(fitting.values()) else "."
    )


def candidates(content: bytes, declared: str = "") -> dict[str, str]:
    """Return encodings that the bytes may have, most likely first.

    Args:
        content: the bytes.
        declared: an encoding that was tried and failed.

    Returns:
        At most three, each with an excerpt of non-ASCII text decoded by it (empty if there is no doubt).
    """
    for mark, name in MARKS.items():
        if content.startswith(mark) and _try(content, name) is not None:
            return {name: ""}
    if b"\x00" in content:
        return {name: "" for name in [_wide(content)] if name}
    if declared != "utf-8" and _try(content, "utf-8") is not None:
        return {"utf-8": ""}
    texts = {name: _try(content, name) for name in (*EAST_ASIAN, *ONE_BYTE)}
    read = {name: text for name, text in texts.items() if text is not None and not _controls(text)}
    ranked = _rank(content, read)[:MOST]
    return {EAST_ASIAN.get(name, name): _excerpt(read[name]) for name in ranked}


def _rank(content: bytes, read: dict[str, str]) -> list[str]:
    """Return names of encodings, the most plausible text first; encodings that give implausible text are left out."""
    from charset_normalizer import from_bytes

    if not read:
        return []
    # The sample starts at the first line with non-ASCII bytes, and is cut at line ends, so that no character is cut.
    start = next((place for place, byte in enumerate(content) if byte > 127), 0)
    start = content.rfind(b"\n", 0, start) + 1
    end = content.rfind(b"\n", start, start + SAMPLE) + 1 if len(content) - start > SAMPLE else len(content)
    sample = content[start : end or start + SAMPLE]
    # Isolated non-ASCII bytes are European accents; characters of other scripts come in runs.
    runs = re.findall(rb"[\x80-\xff]+", sample)
    alone = 0.3 if sum(len(run) == 1 for run in runs) > 0.7 * len(runs) else 0.0
    order: dict[str, float] = {}
    for each in from_bytes(sample, cp_isolation=list(read), threshold=0.6, enable_fallback=False):
        name = next(name for name in read if name in each.could_be_from_charset)  # most common name of equal texts
        # Similarity to a known language separates readings that are equally free of odd characters.
        order[name] = each.chaos - each.coherence / 5 + (0 if name in LATIN else alone) - _kana(name, read)
    ranked = sorted(order, key=lambda name: (round(order[name], 2), list(read).index(name)))
    if (alone or not ranked) and "cp1252" in read and "cp1252" not in ranked[:MOST]:
        ranked = [*ranked[: MOST - 1], "cp1252"]  # a single symbol (pound, quote) looks less likely than a letter
    return ranked


def _kana(name: str, read: dict[str, str]) -> float:
    """Return a bonus for Japanese text: other encodings decode kana as plausible Hangul."""
    if name not in ("cp932", "euc_jp"):
        return 0.0
    others = [character for character in read[name][:SAMPLE] if ord(character) > 127]
    kana = sum("\u3040" <= character <= "\u30ff" for character in others)
    return 0.2 if kana > 0.3 * len(others) else 0.0


def _excerpt(text: str) -> str:
    place = next((place for place, character in enumerate(text) if ord(character) > 127), None)
    if place is None:
        return ""
    start = max(text.rfind("\n", 0, place) + 1, place - 12)
    return short(text[start : place + 14].splitlines()[0])


def _controls(text: str) -> bool:
    """Return whether a text contains C1 control characters, which result from decoding with a wrong table."""
    return any("\x80" <= character <= "\x9f" for character in text)


def _try(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeError:
        return None


def _is_utf8(content: bytes) -> bool:
    """Whether bytes are UTF-8 and hold so many characters beyond ASCII that they are it by no chance."""
    text = _try(content, "utf-8")
    return text is not None and not text.isascii() and sum(character > "\x7f" for character in text) > 3


def _escaped(content: bytes) -> str | None:
    """The East Asian encoding whose escape sequences the bytes hold."""
    return next((name for mark, name in ESCAPED.items() if mark in content and _try(content, name) is not None), None)


def _wide(content: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 variant (without a mark) that the zero bytes suggest; None if none does."""
    best, fewest = None, 1.0
    for name in WIDE:
        text = _try(content, name)
        if text:
            # Correctly decoded text has no NUL and few blocks of characters; wrongly decoded text is spread over many.
            odd = sum(not (character.isprintable() or character in "\r\n\t\ufeff") for character in text[:SAMPLE])
            plain = sum(character < "\u0250" for character in text[:SAMPLE])
            share = (odd + (plain == 0) * len(text)) / min(len(text), SAMPLE)
            if "\x00" not in text and share < fewest:
                best, fewest = name, share
    return best if fewest < 0.1 else None


def _check_wide(content: bytes, text: str, encoding: str, where: str) -> None:
    """Refuse text wrongly decoded as UTF-16 or UTF-32: almost any bytes of even length decode without error."""
    marked = content.startswith(tuple(MARKS))
    if text.startswith("\ufffe") or "\x00" in text or (not marked and b"\x00" not in content):
        told = "its bytes are in the other order" if text.startswith("\ufffe") else "the decoded text is not plausible"
        raise HarnessError(f"{where} is not {encoding}: {told}. {_advice(content, codecs.lookup(encoding).name)}")
    if not marked and (likely := _wide(content)) and codecs.decode(content, likely) != text:
        raise HarnessError(f"{where} is not {encoding}: it has no byte order mark. It reads as {likely}: set "
                           f"task.encoding={likely}.")  # fmt: skip


def _with_nulls(content: bytes, text: str, where: str, declared: str) -> str:
    told = f"{where} holds {content.count(0)} NUL bytes, which no text file of {declared} does"
    if likely := candidates(content, declared):
        name = next(iter(likely))
        return f"{told}. It reads as {name}: set task.encoding={name}."
    place = text.index("\x00")
    line = text.count("\n", 0, place) + 1
    return f"{told}, the first in line {line}: it is damaged, or not text. Write it again where it comes from."


def split_lines(text: str) -> list[str]:
    r"""Split text at line ends of files: `\n`, `\r\n`, or `\r` if it is the only one.

    Other Unicode line separators (U+0085, U+2028) occur within texts and do not split.
    """
    return [line.removesuffix("\r") for line in text.split("\n")] if "\n" in text else text.split("\r")
