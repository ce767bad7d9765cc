"""What requests with files hold is counted until they are answered; forms of other sites' pages are refused."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request

from harness.data.sounds import ArraySound
from harness.serve.bodies import Bodies
from harness.serve.files.uploads import HELD, Uploads
from harness.serve.settings import Refusal, Settings

SETTINGS = Settings(max_upload=1000)
MOST = HELD * SETTINGS.max_upload
BODIES = Bodies("sound", ("a", "1"), False, SETTINGS)
FORM = {"content-type": "multipart/form-data; boundary=x"}


class Hears:
    """Makes a sound of as many samples as a file says."""

    def received(self, data: bytes, pixels: int, seconds: float) -> ArraySound:
        return ArraySound(np.zeros(int(data), np.float32), 1)


def asked(body: bytes, headers: dict[str, str]) -> Request:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": pairs}, receive)


def sounds(*samples: int) -> Request:
    content = [base64.b64encode(str(each).encode()).decode() for each in samples]
    return asked(json.dumps({"sounds": content}).encode(), {"content-type": "application/json"})


def told(label: str, more: dict[str, str]) -> Request:
    fields = '--x\r\nContent-Disposition: form-data; name="sound"; filename="f"\r\n\r\n100\r\n'
    fields += f'--x\r\nContent-Disposition: form-data; name="label"\r\n\r\n{label}\r\n--x--\r\n'
    return asked(fields.encode(), FORM | more)


def test_bytes_are_counted_until_the_answer() -> None:
    """Decoded ones, too: of a request, of feedback, of files that are kept; others are told to wait or to send less."""
    uploads = Uploads(SETTINGS)

    async def run() -> None:
        with uploads.holding() as held:
            rows = await uploads.rows(sounds(500, 700), BODIES, Hears(), held)
            assert [len(row.array) for row in rows.texts] == [500, 700] and not rows.files
            assert uploads.held == held.bytes == 4 * 1200
            with uploads.holding() as second:
                row = await uploads.feedback(told("1", {}), BODIES, Hears(), second)
                assert row == {"sound": b"100", "label": "1"} and second.bytes > 4 * 100
                with pytest.raises(Refusal) as busy, uploads.holding() as third:
                    await uploads.rows(sounds(900), BODIES, Hears(), third)
                assert busy.value.status == 429
            assert uploads.held == held.bytes
        assert uploads.held == 0
        with pytest.raises(Refusal, match="several smaller") as large, uploads.holding() as held:
            await uploads.rows(sounds(*[500] * 5), BODIES, Hears(), held)
        assert large.value.status == 413
        with uploads.holding() as held:
            rows = await uploads.rows(sounds(5), BODIES, Hears(), held, keep=True)
            assert rows.files == (b"5",) and held.bytes == 4 * 5 + 1
        assert uploads.held == 0

    asyncio.run(run())
    uploads.close()


def test_slow_feedback_is_told() -> None:
    class Slow(Hears):
        def received(self, data: bytes, pixels: int, seconds: float) -> ArraySound:
            threading.Event().wait(0.2)
            return super().received(data, pixels, seconds)

    async def run() -> None:
        with pytest.raises(Refusal, match=r"not decoded within 0\.05 seconds"), uploads.holding() as held:
            await uploads.feedback(told("a", {}), BODIES, Slow(), held)

    uploads = Uploads(Settings(timeout=0.05))
    asyncio.run(run())
    assert uploads.held == 0
    uploads.close()


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),
        ({"origin": "http://a.example:80", "host": "a.example:80"}, True),
        ({"origin": "http://a.example", "host": "upstream:8000"}, False),
        ({"origin": "https://a.example", "host": "upstream:8000", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://a.example", "host": "a.example", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://b.example", "host": "a.example", "sec-fetch-site": "same-site"}, False),
    ],
)
def test_forms_of_other_sites(headers: dict[str, str], taken: bool) -> None:
    """A browser tells the site; a proxy that writes Host anew is no other site then."""

    async def run() -> None:
        with uploads.holding() as held:
            await uploads.feedback(told("a", headers), BODIES, Hears(), held)

    uploads = Uploads(Settings())
    if taken:
        asyncio.run(run())
    else:
        with pytest.raises(Refusal, match=r"another site.*proxy_set_header Host"):
            asyncio.run(run())
    uploads.close()
