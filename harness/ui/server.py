"""The server of the page: requests that read, one thread each; it writes only reports, into a temporary folder."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from harness.errors import HarnessError
from harness.ui.content import Studies, Unknown
from harness.ui.reports import Reports

HOST, PORT = "127.0.0.1", 8800
LOOK_SECONDS = 2.0  # between two looks at a study that is followed
BEAT_SECONDS = 15.0  # after which a stream without news says that it lives
STREAMS = 32  # followed at once; further ones are told to ask again
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
KINDS = {
    ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv",
    ".md": "text/plain; charset=utf-8", ".tex": "text/plain; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}  # fmt: skip
Query = Mapping[str, list[str]]


class Server(ThreadingHTTPServer):
    """Answers requests about studies.

    Args:
        address: host and port; port 0 takes a free one.
        studies, reports: what is shown.

    Raises:
        HarnessError: the address cannot be taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], studies: Studies, reports: Reports) -> None:
        self.studies, self.reports, self.over = studies, reports, False
        self.streams = threading.BoundedSemaphore(STREAMS)
        host, port = address
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        try:
            super().__init__(address, Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            raise HarnessError(_refused(host, port, error)) from None
        self.local = _is_local(host)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        shown = host if isinstance(host, str) else host.decode()
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: Server

    def do_GET(self) -> None:
        """Answer a request."""
        try:
            if not self._is_for_us():
                self._say(403, {"error": "This address answers this machine only: open it as localhost or 127.0.0.1."})
                return
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=50)
            self._answer(unquote(parts.path), query)
        except Unknown as error:
            self._say(404, {"error": str(error)})
        except (HarnessError, ValueError) as error:
            self._say(422, {"error": str(error)})
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            self._say(503, {"error": f"The files of the study cannot be read now ({error.strerror})."})

    def _answer(self, path: str, query: Query) -> None:
        studies = self.server.studies
        name = query.get("study", [""])[0]
        cell, run = query.get("cell", [""])[0], query.get("run", [""])[0]
        answers: dict[str, Callable[[], Any]] = {
            "/api/studies": studies.overview,
            "/api/study": lambda: studies.study(name),
            "/api/runs": lambda: studies.runs(name, cell),
            "/api/log": lambda: studies.log(name, cell, run, _whole(query.get("from", ["0"])[0])),
        }
        if path in answers:
            self._say(200, answers[path]())
        elif path == "/api/follow":
            self._follow(studies.overview if not name else lambda: studies.study(name))
        elif path in ("/", "/ui.js", "/ui.css"):
            self._send(200, _file(path), KINDS[f".{path.rpartition('.')[2]}" if path != "/" else ".html"], POLICY)
        elif path == "/report":
            key = self.server.reports.key(query.get("study", []))
            self.send_response(303)
            self.send_header("Location", f"/report/{key}/index.html")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.startswith("/report/"):
            key, _, rest = path.removeprefix("/report/").partition("/")
            file = self.server.reports.file(key, rest)
            # The page of a report has a policy of its own.
            self._send(200, file.read_bytes(), KINDS.get(file.suffix, "application/octet-stream"), None)
        else:
            raise Unknown("There is no such page.")

    do_HEAD = do_GET

    def _follow(self, look: Callable[[], Any]) -> None:
        """Send what is looked at whenever it changes, as server-sent events, until the client leaves."""
        first = look()  # what does not exist is told by a status
        if not self.server.streams.acquire(blocking=False):
            self._say(503, {"error": "Too many pages follow studies: close some."})
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self._end()
            sent, said = None, time.monotonic()
            while not self.server.over and self.command != "HEAD":
                content = json.dumps(first, ensure_ascii=False)
                if content != sent:
                    self.wfile.write(f"data: {content}\n\n".encode(errors="replace"))
                    sent, said = content, time.monotonic()
                elif time.monotonic() - said > BEAT_SECONDS:
                    self.wfile.write(b": waiting\n\n")  # fails if the client has left
                    said = time.monotonic()
                time.sleep(LOOK_SECONDS)
                try:
                    first = look()
                except HarnessError:  # it was removed; the client, which asks again, is told
                    break
        finally:
            self.server.streams.release()
            self.close_connection = True

    def _is_for_us(self) -> bool:
        """Return whether a request names this machine: pages elsewhere may let their own name point here."""
        if not self.server.local:
            return True
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        return host == "localhost" or _is_local(host)

    def _say(self, status: int, content: Any) -> None:
        # A folder's name may have bytes that are no UTF-8.
        body = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        self._send(status, body, "application/json", None)

    def _send(self, status: int, body: bytes, kind: str, policy: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if policy is not None:
            self.send_header("Content-Security-Policy", policy)
        self._end()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _end(self) -> None:
        for header, value in (
            ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"),
            ("X-Frame-Options", "DENY"),
        ):  # fmt: skip
            self.send_header(header, value)
        self.end_headers()

    def version_string(self) -> str:
        """Name the program only."""
        return "harness"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: whoever looks is at this machine."""


def _file(path: str) -> bytes:
    """Return a file of the page; its style begins with that of reports."""
    own = files("harness.ui") / "page"
    if path == "/ui.css":
        return (files("harness.report") / "templates" / "style.css").read_bytes() + (own / "ui.css").read_bytes()
    return (own / ("index.html" if path == "/" else path[1:])).read_bytes()


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise ValueError("from must be a whole number.")
    return int(text)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use by another program: stop that, or set --port {port % 65535 + 1}."
    return (
        f"--host {host} --port {port} cannot be taken ({getattr(error, 'strerror', None) or error}): name {HOST} (this "
        "machine only) or an address of this machine, and a port from 1024 to 65535."
    )
