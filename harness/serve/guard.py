"""A layer around all routes of a service: no request gets past it unanswered, and no traceback leaves it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from harness.serve.metrics import Metrics
from harness.serve.settings import Refusal, Settings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LOG = logging.getLogger("harness.serve")
PREFIX = "/v1/"  # of the paths of OpenAI's API
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """Middleware that counts and times requests, and answers what the routes fail to answer.

    Starlette puts it inside of its own handler of unexpected errors, which would answer without the request's number.

    Args:
        app: the ASGI application that it wraps.
        metrics: of the service.
        draining: tells whether the service is about to stop: answers then close their connections.
    """

    def __init__(self, app: App, metrics: Metrics, draining: Callable[[], bool]) -> None:
        self.app, self.metrics, self.draining = app, metrics, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if self.draining():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        with self.metrics.open.track_inprogress():
            try:
                await self.app(scope, receive, answer)
            except Exception as error:  # noqa: BLE001 # the last resort: an answer without a traceback
                number = uuid.uuid4().hex[:12]
                # Messages of exceptions may repeat what a client sent, so only the places are logged.
                places = " < ".join(
                    f"{frame.name} ({frame.filename}:{frame.lineno})"
                    for frame in reversed(traceback.extract_tb(error.__traceback__)[-6:])
                )
                LOG.error("request %s failed: %s in %s", number, type(error).__name__, places)  # noqa: TRY400
                if not status:
                    said = f"The service failed on this request; its log has {number}."
                    await reply(answer, *error_of(scope["path"], 500, said))
            finally:
                route = scope.get("route")  # of requests to known paths only: others would be endless labels
                path = getattr(route, "path", "other")
                self.metrics.requests.labels(path, str(status or 500)).inc()
                self.metrics.seconds.labels(path).observe(time.perf_counter() - began)


def error_of(
    path: str, status: int, message: str, problems: Sequence[str] = (), code: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the status and the content of an answer to a request that is not carried out.

    Args:
        path: of the request.
        status: as other paths have it; in OpenAI's API a body that does not fit is 400.
        message: a sentence.
        problems: what is wrong, one sentence each.
        code: what a program tells errors apart by, where the status does not.
    """
    if not path.startswith(PREFIX):
        return status, {"error": message, **({"problems": list(problems)} if problems else {})}
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    said = " ".join(problems) if len(problems) > 1 else message
    error = {"message": said, "type": kind, "param": None, "code": code or _CODES.get(status)}
    return 400 if status == 422 else status, {"error": error}


async def reply(send: Send, status: int, content: Any) -> None:
    """Send a JSON answer."""
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def media_type(request: Any) -> str:
    """Return what a request says that its body is, such as application/json; "" if it says nothing."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def read_body(
    request: Any,
    settings: Settings,
    most: int | None = None,
    forms: Sequence[str] = (),
    arrived: Callable[[int], None] | None = None,
) -> bytes:
    """Read the JSON body of a request.

    Args:
        request: the request.
        settings: limits.
        most: bytes that the body may have; None: those of the settings.
        forms: other types of bodies that are taken.
        arrived: told the size of each part of the body; may raise.

    Raises:
        Refusal: 415, 413, or 408 if it has not arrived in time; 400 if the client has left.
    """
    from starlette.requests import ClientDisconnect

    if media_type(request) not in ("application/json", *forms):
        # Also keeps other sites' pages out: a browser sends JSON only after asking, which is not answered.
        also = f", or a form with files ({', '.join(forms)})" if forms else ""
        raise Refusal(415, f"The body must be JSON: send the header Content-Type: application/json{also}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "The body must not be compressed: leave Content-Encoding out.")
    most = most or settings.max_bytes
    too_large = Refusal(413, f"The body has more than {most} bytes: send several smaller requests.", headers=_CLOSE)
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.timeout):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                if arrived is not None:
                    arrived(len(part))
                parts.append(part)
    except TimeoutError:
        message = f"The body did not arrive within {settings.timeout:g} seconds."
        raise Refusal(408, message, headers=_CLOSE) from None
    except ClientDisconnect:
        raise Refusal(400, "The client left before the body was complete.") from None
    return b"".join(parts)


_CLOSE = {"Connection": "close"}  # what the client still sends is not read
