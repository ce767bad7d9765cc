"""Forms: names as clients write them, whatever stands in a head in one pass, and what is no file or too much, told."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from harness.serve.files.multipart import Part, parts_of, values_of
from harness.serve.settings import Refusal

TYPE = "multipart/form-data; boundary=x"


def form(*heads: str, content: str = "c") -> bytes:
    return "".join(f"--x\r\n{head}\r\n\r\n{content}\r\n" for head in heads).encode() + b"--x--\r\n"


def test_names_and_file_names() -> None:
    heads = {
        'Content-Disposition: form-data; name="image"; filename="a \\"b\\"; c.png"\r\nContent-Type: image/png': True,
        "content-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=image": False,
        "Content-Disposition: form-data; filename*=UTF-8''%C3%A4.png; name=image;": True,
    }
    for kind in (TYPE, 'Multipart/Form-Data ; charset=utf-8; Boundary="x"'):
        assert parts_of(form(*heads), kind, 3) == [Part("image", b"c", file) for file in heads.values()]
    for head in (
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=a",
        'Content-Disposition: form-data; name=""',
    ):
        with pytest.raises(Refusal, match="no name"):
            parts_of(form(head), TYPE, 3)


@pytest.mark.parametrize("bad", ["(", ";", '"', "\\", "a=", "=", ' ;a="'])
def test_no_head_takes_long(bad: str) -> None:
    """Neither of a field nor of the request: thousands of marks, which a parser of e-mail takes seconds for."""
    began = time.process_time()
    for head in ('form-data; name="image"', "form-data", ""):
        with suppress(Refusal):
            parts_of(form(f"Content-Disposition: {head}{bad * 1_900}"[:2_000]), TYPE, 3)
        with pytest.raises(Refusal, match="head that cannot be read"):
            parts_of(form(f"Content-Disposition: {head}{bad * 7_000}"), TYPE, 3)
    with pytest.raises(Refusal, match="no boundary"):
        parts_of(form(), f"multipart/form-data; {bad * 7_000}; boundary=x", 3)
    assert time.process_time() - began < 1


def test_too_many_fields_and_no_file() -> None:
    head = 'Content-Disposition: form-data; name="image"'
    assert len(parts_of(form(*[head] * 3), TYPE, 3)) == 3
    for body in (form(*[head] * 4), form(*[head] * 5), form(*[head] * 5)[:-8]):
        with pytest.raises(Refusal, match="more than 3 fields"):
            parts_of(body, TYPE, 3)
    with pytest.raises(Refusal, match="curl write -F image=@FILE"):
        values_of(parts_of(form(head, content="photo.jpg"), TYPE, 3), "image", "images")
    parts = [Part("image", b"\x89", True), Part("label", b"1", False)]
    assert values_of(parts, "image", "images") == {"image": b"\x89", "label": 1}
    assert values_of(parts, "image", "images", texts=True) == {"image": b"\x89", "label": "1"}
    with pytest.raises(Refusal, match="label is not UTF-8"):
        values_of([Part("label", b"\xff", False)], "image", "images", texts=True)
