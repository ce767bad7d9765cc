"""Encodings that are not what was declared: where decoding fails, and what the bytes can be."""

# ruff: noqa: RUF001 - texts in many scripts

from __future__ import annotations

import pytest

from harness.data.readers.encodings import candidates, decode, encoding_note
from harness.errors import HarnessError

TEXTS = {
    "gb18030": ("这部电影非常好看，我很喜欢。", "演员的表演很糟糕，剧情无聊。"),
    "gbk": ("这部电影非常好看，我很喜欢。", "演员的表演很糟糕，剧情无聊。"),
    "big5": ("這部電影非常好看，我很喜歡。", "演員的表演很糟糕，劇情無聊。"),
    "shift_jis": ("この映画はとても面白かったです。", "演技がひどくて退屈でした。"),
    "euc-jp": ("この映画はとても面白かったです。", "演技がひどくて退屈でした。"),
    "euc-kr": ("이 영화는 정말 재미있었어요.", "연기가 형편없고 지루했습니다."),
    "cp1251": ("Этот фильм мне очень понравился.", "Ужасная игра актёров скучный сюжет."),
    "koi8_r": ("Этот фильм мне очень понравился.", "Ужасная игра актёров скучный сюжет."),
    "cp1252": ("Ce film était très émouvant j’ai adoré.", "Un scénario médiocre à l’évidence."),
    "latin-1": ("Ein großartiger Film schöne Bilder.", "Öde Übergänge für das Geld."),
    "cp866": ("Этот фильм мне очень понравился.", "Ужасная игра актёров скучный сюжет."),
    "iso8859_5": ("Этот фильм мне очень понравился.", "Ужасная игра актёров скучный сюжет."),
    "cp1256": ("فيلم رائع أحببته", "فيلم سيء وممل"),
    "tis_620": ("หนังดีมากชอบมาก", "หนังแย่มากน่าเบื่อ"),
    "cp1253": ("Μια υπέροχη ταινία μου άρεσε πολύ.", "Απαίσια ταινία κακή ερμηνεία."),
    "mac_roman": ("Ce film était très émouvant.", "Un scénario médiocre à l'évidence."),
}
SAME = {"gbk": "gb18030", "latin-1": "cp1252"}  # what decodes the same bytes to the same text


def content(encoding: str, rows: int = 20) -> bytes:
    good, bad = TEXTS.get(encoding, TEXTS["cp1252"])
    return ("text,label\n" + f"{good},pos\n{bad},neg\n" * rows).encode(encoding)


def complaint(data: bytes, encoding: str = "utf-8") -> str:
    with pytest.raises(HarnessError) as caught:
        decode(data, encoding, "rows.csv")
    return str(caught.value)


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_likeliest_candidate_is_the_right_one(encoding: str) -> None:
    """The bytes decide; at most three are named, with what a text would look like, and the advice works."""
    data = content(encoding)
    message = complaint(data)
    name = SAME.get(encoding, encoding)
    assert f"set task.encoding={name} if that reads right" in message
    assert message.count("(there: ") <= 3
    assert decode(data, name, "rows.csv") == data.decode(encoding)
    assert "latin-1" not in message  # it decodes everything


def test_hebrew_is_among_the_candidates() -> None:
    """Read as Cyrillic it looks as likely."""
    assert "cp1255 (there: 'סרט מצוין" in complaint("text\nסרט מצוין אהבתי אותו\n".encode("cp1255"))


@pytest.mark.parametrize("encoding", ["iso2022_jp", "iso2022_kr"])
def test_escape_sequences(encoding: str) -> None:
    """They are ASCII, so that every other encoding reads them, and nothing of the text."""
    text = "text,label\n映画,x\n" if encoding == "iso2022_jp" else "text,label\n영화,x\n"
    assert f"Set task.encoding={encoding}." in complaint(text.encode(encoding))
    assert decode(text.encode(encoding), encoding, "rows.csv") == text


def test_utf_8_that_was_declared_something_else() -> None:
    """It would ruin the texts in silence. latin-1 is taken at its word: published data sets hold such texts."""
    for declared in ("cp1252", "gb18030"):
        assert "Set task.encoding=utf-8." in complaint("text\nété à l'école, déjà\n".encode(), declared)
    assert decode("text\ncafé\n".encode("cp1252"), "cp1252", "rows.csv") == "text\ncafé\n"


def test_a_wide_file_that_is_cut_off() -> None:
    """Its mark says what it is."""
    assert "begins like utf-16, but is not all of that: it may be incomplete." in complaint(
        "text\n".encode("utf-16")[:-1]
    )


@pytest.mark.parametrize("text", ["für", "f\xfcr alle", "café", "niño y señora", "smørrebrød"])
def test_a_few_accents_are_european(text: str) -> None:
    """One accent among ASCII letters is no East Asian character, although those encodings decode it."""
    assert "It can be read as cp1252" in complaint(f"text\n{text}\n".encode("cp1252"))
    assert "cp1252 (there: '£5')" in complaint("text\n£5\n".encode("cp1252"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["text,label\ngood,x\n", "text,label\ncafé,x\n", "text,label\n好看，喜欢,x\n"])
def test_utf_16_and_32_with_and_without_a_mark(encoding: str, text: str) -> None:
    """They are told although UTF-8 decodes some of them to NULs, and whatever else was declared."""
    data = text.encode(encoding)
    for declared in ("utf-8", "cp1252", "gb18030", "latin-1"):
        assert f"task.encoding={encoding}." in complaint(data, declared), declared
    assert decode(data, encoding, "rows.csv") == text
    if encoding.endswith("be"):
        assert f"task.encoding={encoding}." in complaint(data, encoding.removesuffix("-be"))  # no mark: the other order


def test_a_narrow_file_that_is_declared_wide() -> None:
    """Almost any bytes of even length decode as UTF-16, to nonsense."""
    for data in (b"text,label\nab,x\n", b"text,label\nabc,x\n"):
        for declared in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            assert "It can be read as utf-8: set task.encoding=utf-8." in complaint(data, declared)


def test_a_damaged_file_is_not_given_another_encoding() -> None:
    """Few places among many right ones: the places are counted and three are shown, the others stay UTF-8."""
    data = content("utf-8").replace("é".encode(), b"\xe9", 5)
    message = complaint(data)
    assert "rows.csv is not utf-8: at 5 places it cannot be decoded: byte 0xe9 at position 19 (line 2), " in message
    assert message.count("position") == 3
    assert "UTF-8 that is damaged there" in message and "task.encoding" not in message
    cut = "text,label\né,x\né,y\nè,x\né".encode()[:-1]
    assert "ends within a character" in complaint(cut)


def test_nuls_are_no_text() -> None:
    """One NUL is damage; a file of zeros, or of noise, is no text."""
    assert "holds 1 NUL bytes" in complaint(b"text,label\na\x00b,x\n")
    assert "the first in line 2" in complaint(b"text,label\na\x00b,x\n")
    assert "task.encoding" not in complaint(bytes(100))
    noise = bytes(range(256)) * 4
    assert "No usual encoding decodes it" in complaint(noise)


@pytest.mark.parametrize(
    "name", ["punycode", "base64", "rot13", "idna", "undefined", "unicode_escape", "hex", "zlib", "utf-9", "é", "a b"]
)
def test_codecs_that_are_no_encodings(name: str) -> None:
    """Python's other codecs are refused by name."""
    assert complaint(b"text,label\na,x\n", name).endswith("Usual ones: utf-8, utf-16, cp1252, gb18030, shift_jis.")


def test_ascii_that_was_declared_and_utf_8_that_is() -> None:
    """What is UTF-8 is said to be."""
    assert "It can be read as utf-8: set" in complaint("text\ncafé\n".encode(), "ascii")
    assert candidates(b"") == {"utf-8": ""}


def test_a_one_byte_encoding_of_utf8_bytes_is_noted() -> None:
    """Published files declare latin-1 for UTF-8: they are read as declared, and the user is told."""
    content = "text,label\ncafé,a\n".encode()
    note = encoding_note(content, "latin-1", "rows.csv")
    assert note is not None
    assert "'é' is read as 'Ã©'" in note
    assert "task.encoding=utf-8" in note
    assert encoding_note("café".encode("latin-1"), "latin-1", "rows.csv") is None
    assert encoding_note(b"plain", "latin-1", "rows.csv") is None
    assert encoding_note(content, "utf-8", "rows.csv") is None
