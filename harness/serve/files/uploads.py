"""Requests with files: how many bytes of them are held at once, and the threads that decode them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from harness.errors import HarnessError
from harness.serve.files.multipart import FORM
from harness.serve.guard import media_type, read_body
from harness.serve.settings import Refusal, Settings

DECODERS = 2  # threads: each may hold an image of `max_pixels`
HELD = 8  # requests of the largest size whose bodies are in memory at once


class Bodies(Protocol):
    """What is asked of a `harness.serve.bodies.Bodies`."""

    def rows(self, body: bytes, form: str | None = None) -> Any:
        """Read a prediction request: `Rows`, whose texts are the bytes of files."""


class Model(Protocol):
    """What is asked of a `harness.serve.loaded.Loaded`."""

    def received(self, data: bytes, pixels: int, seconds: float) -> Any:
        """Return a row made of a file."""


class Uploads:
    """Reads and decodes the files of requests, outside of the thread that computes.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held = 0  # bytes
        self._pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="files")

    async def rows(self, request: Any, bodies: Bodies, model: Model, keep: bool = False) -> Any:
        """Read the files of a prediction request, and make rows of them.

        Args:
            request: a form, or JSON.
            bodies: what the model takes.
            model: it.
            keep: whether `Rows.files` are wanted, for another model.

        Raises:
            Refusal: 4xx, or 503 if there is no answer in time.
        """
        kind = media_type(request)
        _same_site(request, kind)
        taken = 0

        def arrived(size: int) -> None:
            nonlocal taken
            taken, self._held = taken + size, self._held + size
            if self._held > HELD * self._settings.max_upload:
                raise Refusal(429, "The service is busy with other files: ask again later.", headers=_LATER)

        try:
            body = await read_body(request, self._settings, self._settings.max_upload, (FORM,), arrived)
            form = request.headers["content-type"] if kind == FORM else None
            async with asyncio.timeout(self._settings.timeout):
                rows = await self._in_thread(bodies.rows, body, form)
                del body
                return replace(rows, texts=await self.ready(model, rows.texts), files=rows.texts if keep else ())
        except TimeoutError:
            message = f"The files were not decoded within {self._settings.timeout:g} seconds: send fewer, or ask later."
            raise Refusal(503, message, headers={"Retry-After": "5"}) from None
        finally:
            self._held -= taken

    async def ready(self, model: Model, files: Sequence[bytes]) -> tuple[Any, ...]:
        """Decode files for a model.

        Raises:
            Refusal: 422; one cannot be used.
        """
        found = [await self._in_thread(self._decoded, model, file, place) for place, file in enumerate(files)]
        return tuple(found)

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
    """Refuse forms of other sites' pages, which browsers send without asking."""
    origin = request.headers.get("origin")
    if kind == FORM and origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refusal(403, "This form is from the page of another site: send the files as JSON, or without Origin.")


_LATER = {"Retry-After": "1", "Connection": "close"}
