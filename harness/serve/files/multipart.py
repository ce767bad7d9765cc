"""Forms with files (multipart/form-data, RFC 7578), as browsers and `curl -F` send them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.serve.settings import Refusal

FORM = "multipart/form-data"
_HEAD = 2048  # most bytes of a part's head, and of the header that declares a form
_BOUNDARY = 70  # most characters of a boundary (RFC 2046)
# Parameters of a header, one after the other: no two ways to read a text, so that it takes one pass.
_PARAMETER = re.compile(r';[ \t]*([^\s;="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')
_DISPOSITION = re.compile(r"content-disposition:[ \t]*form-data[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A field of a form.

    Attributes:
        name: of the field.
        content: its bytes.
        file: whether it is a file.
    """

    name: str
    content: bytes
    file: bool


def parts_of(body: bytes, content_type: str, most: int) -> list[Part]:
    """Return the fields of a form, in order.

    Args:
        body: of the request.
        content_type: its header, which names the boundary.
        most: fields that there may be.

    Raises:
        Refusal: 400 or 422; it is no whole form, or has more fields.
    """
    declared = _parameters(content_type[len(content_type.partition(";")[0]) :])
    boundary = (declared or {}).get("boundary", "")
    if not 0 < len(boundary) <= _BOUNDARY or not boundary.isascii():
        raise Refusal(400, f"The form has no boundary: send Content-Type: {FORM}; boundary=..., as curl -F does.")
    first, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), most + 2)
    if len(pieces) > most + 1:
        raise Refusal(422, f"The form has more than {most} fields: send several smaller requests.")
    if not pieces or not pieces[-1].startswith(b"--") or first.strip():
        raise Refusal(400, "The form was cut short: it must end with its boundary and two hyphens.")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> Part:
    head, blank, content = piece.partition(b"\r\n\r\n")
    unreadable = Refusal(400, "A field of the form has a head that cannot be read.")
    if not blank or len(head) > _HEAD:
        raise unreadable
    lines = head.decode(errors="replace").split("\r\n")
    found = next(filter(None, map(_DISPOSITION.match, lines)), None)
    parameters = _parameters(found.string[found.end() :]) if found else {}
    if parameters is None:
        raise unreadable
    if not parameters.get("name"):
        raise Refusal(400, "A field of the form has no name.")
    return Part(parameters["name"], content, not parameters.keys().isdisjoint(("filename", "filename*")))


def _parameters(text: str) -> dict[str, str] | None:
    """Return the parameters of a header, such as `; name="image"`, by name; None if they cannot be read."""
    found, place = dict[str, str](), 0
    text = text.rstrip("; \t")
    while len(text) <= _HEAD and (each := _PARAMETER.match(text, place)):
        name, quoted, plain = each.groups()
        found[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = each.end()
    return found if place == len(text) else None


def values_of(parts: list[Part], one: str, many: str, texts: bool = False) -> Mapping[str, Any]:
    """Return the fields of a form as those of a JSON body: files as bytes, others as what their text says in JSON.

    Args:
        parts: the fields.
        one, many: names of the fields of a file, and of several; the first may be repeated, too.
        texts: whether the others are texts as they stand: a class may be called 1.

    Raises:
        Refusal: 422; another field is given twice, is no text, or a file was not sent as one.
    """
    if told := next((part.name for part in parts if part.name in (one, many) and not part.file), None):
        message = f"{told} was sent as text, without a file: with curl write -F {told}=@FILE, with an @."
        raise Refusal(422, message, (message,))
    files = [part.content for part in parts if part.name == one]
    several = [part.content for part in parts if part.name == many]
    found: dict[str, Any] = {}
    if len(files) == 1:
        found[one] = files[0]
    if several or len(files) > 1:
        found[many] = [*several, *(files if len(files) > 1 else [])]
    for part in parts:
        if part.name in (one, many):
            continue
        if part.name in found:
            raise Refusal(422, f"The form has two fields {part.name}: send one.")
        found[part.name] = _text(part) if texts else _value(part.content)
    return found


def _text(part: Part) -> str:
    try:
        return part.content.decode()
    except UnicodeDecodeError:
        raise Refusal(422, f"The field {part.name} is not UTF-8 text.") from None


def _value(content: bytes) -> Any:
    text = content[:1000].decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
