"""Requests with files: how many bytes of them are held at once, and the threads that decode them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from harness.errors import HarnessError
from harness.serve.files.multipart import FORM
from harness.serve.guard import media_type, read_body
from harness.serve.settings import Refusal, Settings

DECODERS = 2  # threads: each may hold an image of `max_pixels`
HELD = 8  # requests of the largest size whose bytes are in memory at once


class Bodies(Protocol):
    """What is asked of a `harness.serve.bodies.Bodies`."""

    @property
    def kind(self) -> str:
        """The field of a file."""

    def rows(self, body: bytes, form: str | None = None) -> Any:
        """Read a prediction request: `Rows`, whose texts are the bytes of files."""

    def row_of_feedback(self, body: bytes, form: str | None = None) -> dict[str, Any]:
        """Read a feedback request."""


class Model(Protocol):
    """What is asked of a `harness.serve.loaded.Loaded`."""

    def received(self, data: bytes, pixels: int, seconds: float) -> Any:
        """Return a row made of a file."""


class Held:
    """The bytes that one request holds, of all that requests hold.

    Args:
        uploads: counts them.
        most: that all may hold.
    """

    def __init__(self, uploads: Uploads, most: int) -> None:
        self._uploads, self._most = uploads, most
        self.bytes = 0

    def add(self, size: int) -> None:
        """Count bytes that have come, or, below 0, are no longer needed.

        Raises:
            Refusal: 429 if all hold too much, 413 if this request alone does.
        """
        self.bytes += size
        self._uploads.held += size
        if size > 0 and self._uploads.held > self._most:
            if self.bytes > self._most:
                message = f"The files have more than {self._most} bytes when decoded: send several smaller requests."
                raise Refusal(413, message)
            raise Refusal(429, "The service is busy with other files: ask again later.", headers=_LATER)


class Uploads:
    """Reads and decodes the files of requests, outside of the thread that computes.

    Args:
        settings: limits.

    Attributes:
        held: bytes that requests hold: bodies until they are decoded, then rows, until they are answered.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.held = 0
        self._pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="files")

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Count what a request holds, until it is answered."""
        held = Held(self, HELD * self._settings.max_upload)
        try:
            yield held
        finally:
            self.held -= held.bytes

    async def rows(self, request: Any, bodies: Bodies, model: Model, held: Held, keep: bool = False) -> Any:
        """Read the files of a prediction request, and make rows of them.

        Args:
            request: a form, or JSON.
            bodies: what the model takes.
            model: it.
            held: counts their bytes.
            keep: whether `Rows.files` are wanted, for another model.

        Raises:
            Refusal: 4xx, or 503 if there is no answer in time.
        """
        body, form = await self._body(request, held)
        size = len(body)
        async with self._in_time():
            rows = await self._in_thread(bodies.rows, body, form)
            del body
            made = replace(rows, texts=await self.ready(model, rows.texts, held), files=rows.texts if keep else ())
        held.add(sum(map(len, made.files)) - size)
        return made

    async def feedback(self, request: Any, bodies: Bodies, model: Model, held: Held) -> dict[str, Any]:
        """Read a feedback request, whose file the model must be able to read; see `rows`."""
        body, form = await self._body(request, held)
        async with self._in_time():
            row: dict[str, Any] = await self._in_thread(bodies.row_of_feedback, body, form)
            del body
            await self.ready(model, [row[bodies.kind]], held)  # what is no image or sound is not kept
        return row

    async def ready(self, model: Model, files: Sequence[bytes], held: Held) -> tuple[Any, ...]:
        """Decode files for a model.

        Raises:
            Refusal: 422, one cannot be used; 413 or 429, they are too large together.
        """
        found = list[Any]()
        for place, file in enumerate(files):
            found.append(await self._in_thread(self._decoded, model, file, place))
            held.add(sum(part.nbytes for part in vars(found[-1]).values() if isinstance(part, np.ndarray)))
        return tuple(found)

    async def _body(self, request: Any, held: Held) -> tuple[bytes, str | None]:
        """Return the body of a request, and the type of a form; None for JSON."""
        kind = media_type(request)
        _same_site(request, kind)
        body = await read_body(request, self._settings, self._settings.max_upload, (FORM,), held.add)
        return body, request.headers["content-type"] if kind == FORM else None

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._settings.timeout):
                yield
        except TimeoutError:
            message = f"The files were not decoded within {self._settings.timeout:g} seconds: send fewer, or ask later."
            raise Refusal(503, message, headers={"Retry-After": "5"}) from None

    def _decoded(self, model: Model, file: bytes, place: int) -> Any:
        settings = self._settings
        try:
            return model.received(file, settings.max_pixels, settings.max_seconds)
        except HarnessError as error:
            raise Refusal(422, f"File {place + 1}: {error}", (f"File {place + 1}: {error}",)) from None

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _same_site(request: Any, kind: str) -> None:
    """Refuse forms of other sites' pages, which browsers send without asking.

    Browsers tell the site that asks where an address can be trusted (https, this machine); else Host, which a proxy may
    write anew, must be Origin's.
    """
    if kind != FORM:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    other = bool(origin) and urlsplit(origin).netloc != request.headers.get("host")
    if other if site is None else site not in ("same-origin", "none"):
        raise Refusal(
            403,
            "This form is from the page of another site: send the files as JSON, or without Origin. Behind a proxy, "
            "let it pass the header Host on (nginx: proxy_set_header Host $http_host;).",
        )


_LATER = {"Retry-After": "1", "Connection": "close"}
