"""Forms with files (multipart/form-data, RFC 7578), as browsers and `curl -F` send them."""

from __future__ import annotations

import email.policy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from typing import Any

from harness.serve.settings import Refusal

FORM = "multipart/form-data"
_HEAD = 8192  # most bytes of a part's head
_BOUNDARY = 70  # most characters of a boundary (RFC 2046)


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
    declared = EmailMessage()
    declared["Content-Type"] = content_type
    boundary = str(declared.get_param("boundary") or "")
    if not 0 < len(boundary) <= _BOUNDARY or not boundary.isascii():
        raise Refusal(400, f"The form has no boundary: send Content-Type: {FORM}; boundary=..., as curl -F does.")
    first, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), most + 2)
    whole = bool(pieces) and pieces[-1].startswith(b"--")
    if not whole and len(pieces) > most + 1:
        raise Refusal(422, f"The form has more than {most} fields: send several smaller requests.")
    if not whole or first.strip():
        raise Refusal(400, "The form was cut short: it must end with its boundary and two hyphens.")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> Part:
    head, blank, content = piece.partition(b"\r\n\r\n")
    unreadable = Refusal(400, "A field of the form has a head that cannot be read.")
    if not blank or len(head) > _HEAD:
        raise unreadable
    try:
        fields: Message = BytesHeaderParser(policy=email.policy.HTTP).parsebytes(head.lstrip() + blank)
        name = fields.get_param("name", header="content-disposition")
        file = fields.get_param("filename", header="content-disposition")
    except (ValueError, LookupError, AttributeError, TypeError, MessageError):
        raise unreadable from None
    if not isinstance(name, str) or not name:
        raise Refusal(400, "A field of the form has no name.")
    return Part(name, content, file is not None)


def values_of(parts: list[Part], one: str, many: str) -> Mapping[str, Any]:
    """Return the fields of a form as those of a JSON body: files as bytes, others as what their text says in JSON.

    Args:
        parts: the fields.
        one, many: names of the fields of a file, and of several; the first may be repeated, too.

    Raises:
        Refusal: 422; another field is given twice.
    """
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
        found[part.name] = _value(part.content)
    return found


def _value(content: bytes) -> Any:
    text = content[:1000].decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
