"""Bodies of requests with files."""

from __future__ import annotations

import base64
import json

import pytest

from harness.serve.bodies import Bodies
from harness.serve.settings import Refusal, Settings

BODIES = Bodies("image", ("a", "b"), False, Settings())


@pytest.mark.parametrize("form", ["{}", "{}\n", "data:image/png;base64,{}\r\n", " {} "])
def test_base64_as_tools_print_it(form: str) -> None:
    """With a newline at its end, or after each line of 76 characters."""
    for content in (b"short", b"of several lines " * 20):
        for text in (base64.b64encode(content).decode(), base64.encodebytes(content).decode()):
            assert BODIES.rows(json.dumps({"image": form.format(text)}).encode()).texts == (content,)
    with pytest.raises(Refusal, match="base64 -w0 FILE"):
        BODIES.rows(json.dumps({"image": form.format("no!")}).encode())
