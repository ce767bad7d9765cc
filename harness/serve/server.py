"""The process of a service: its socket, its connections, and how it stops."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import signal
import socket
import struct
import sys
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from harness.errors import HarnessError
from harness.serve.app import Service
from harness.serve.settings import HOST, PORT, Settings

GRACE = 0.5  # seconds in which a request that was sent before the service stopped listening must have arrived
FIRST = 3.0  # the same for the first request of a connection
HANDSHAKES = 0.25  # seconds in which a client that has begun to connect must have done so
SO_ATTACH_FILTER = 26  # of Linux, asm-generic/socket.h; Python does not name it
# A classic BPF program for a listening TCP socket, (code, jump if true, jump if false, value) each: drop packets that
# have SYN without ACK in byte 13 of the TCP header, which begin a connection, and let all others pass.
NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


class Connection(H11Protocol):
    """A connection that is closed when no whole request head arrives in time, and answers after a half-close."""

    header_timeout = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Start the clock when a request begins, stop it when its head is there."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._watch()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()

    def on_response_complete(self) -> None:
        """Stop the clock: between requests, uvicorn's keep-alive timeout counts."""
        self._unwatch()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._unwatch()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio takes a bool, uvicorn returns none
        """Keep a connection whose client only closed its sending side until the answer is sent."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return None

    def shutdown(self) -> None:
        """Close at the service's end, after a request that may be on its way: its answer closes the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
        else:
            self.loop.call_later(FIRST if self.cycle is None else GRACE, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _watch(self) -> None:
        self._unwatch()
        self._deadline = self.loop.call_later(self.header_timeout, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()


class Server(uvicorn.Server):
    """Stops in three steps: it says that it will, takes no more connections, and answers what it has taken."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._asked = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal stops at once."""
        if self._asked:
            super().handle_exit(sig, frame)
            if sig == signal.SIGTERM:
                self.force_exit = True
            return
        self._asked = True
        self.service.drain()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.should_exit = True
        else:
            loop.call_later(self.service.settings.drain, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let no new connection begin, accept those that have begun, and answer the rest.

        Closing a listening socket resets connections that the kernel has completed and nobody has accepted, so first
        there must be none.
        """
        for listener in sockets or ():
            _refuse_handshakes(listener)
        await asyncio.sleep(HANDSHAKES)
        await super().shutdown(sockets)


def _refuse_handshakes(listener: socket.socket) -> None:
    """Let no new connection begin; elsewhere than on Linux, let few wait."""
    if not sys.platform.startswith("linux"):
        listener.listen(0)
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in NO_NEW_CONNECTIONS))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(NO_NEW_CONNECTIONS), ctypes.addressof(program))
        )
    except OSError:  # a kernel without filters
        listener.listen(0)


def bind(host: str, port: int) -> socket.socket:
    """Take the port, before models are loaded.

    Raises:
        HarnessError: it is in use or not allowed, or the host is unknown.
    """
    if not 0 <= port <= 65535:
        raise HarnessError(_nowhere(host, port))
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, OverflowError, UnicodeError):
        raise HarnessError(_nowhere(host, port)) from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)  # two services that start at once: the second is told here
    except OSError as error:
        listener.close()
        raise HarnessError(_refused(host, port, error)) from None
    return listener


def _nowhere(host: str, port: int) -> str:
    return (
        f"--host {host} --port {port} is no address of this machine: name {HOST} (this machine only), 0.0.0.0 "
        "(every network) or an address of its own, and a port from 0 to 65535."
    )


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use by another program: stop that, or set --port {port % 65535 + 1}."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} of {host} needs more rights (below 1024 only root may): set --port {PORT}."
    return f"Port {port} of {host} cannot be taken ({error.strerror}): set another --host or --port."


def run(service: Service, listener: socket.socket) -> None:
    """Serve until a signal: SIGTERM or Ctrl-C stops after what was taken is answered, a second one at once."""
    settings: Settings = service.settings
    protocol = type("BoundConnection", (Connection,), {"header_timeout": settings.header_timeout})
    config = uvicorn.Config(
        service.app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=int(settings.stop_timeout),
        timeout_keep_alive=30,
        server_header=False,
        backlog=1024,
    )
    server = Server(config, service)
    asyncio.run(server.serve(sockets=[listener]))
