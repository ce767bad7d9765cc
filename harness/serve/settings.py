"""Settings of a service: its limits, and how requests are joined into batches."""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.errors import Problems

HOST, PORT = "127.0.0.1", 8000  # where a service listens unless it is told otherwise


@dataclass(frozen=True)
class Settings:
    """Limits of a service. Each is an option of `harness serve`.

    Attributes:
        max_batch: rows that one pass of a model takes together.
        max_wait_ms: milliseconds that a request waits for others to share its pass.
        max_queue: rows that may wait for a model; further requests are answered with 429.
        max_rows: rows of one request.
        max_chars: characters of one text.
        max_bytes: bytes of a request's body.
        max_upload: the same of a body with images or sounds.
        max_pixels: pixels of one image.
        max_seconds: seconds of one sound.
        timeout: seconds in which a request is answered, and in which its body must have arrived.
        header_timeout: seconds in which a request's head must have arrived.
        drain: seconds that the service goes on taking requests after it was asked to stop.
        stop_timeout: seconds in which it answers, then, what it has taken.
        connections: connections that may be open at once.
    """

    max_batch: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 512
    max_rows: int = 256
    max_chars: int = 20_000
    max_bytes: int = 2 * 2**20
    max_upload: int = 32 * 2**20
    max_pixels: int = 50_000_000
    max_seconds: float = 60.0
    timeout: float = 30.0
    header_timeout: float = 10.0
    drain: float = 1.0
    stop_timeout: float = 60.0
    connections: int = 1000

    def check(self) -> None:
        """Check all settings.

        Raises:
            HarnessError: some are out of range; all are told at once.
        """
        problems = Problems()
        for each in fields(self):
            value, option = getattr(self, each.name), option_of(each.name)
            if each.name in ("max_wait_ms", "drain"):
                problems.check(0 <= value < float("inf"), f"{option} must be 0 or more, not {value:g}.")
            else:
                problems.check(0 < value < float("inf"), f"{option} must be above 0, not {value:g}.")
        problems.check(
            self.max_rows <= self.max_queue,
            f"--max-rows {self.max_rows} is more than --max-queue {self.max_queue}, so the largest requests would "
            f"never be taken: set --max-queue {self.max_rows} or more.",
        )
        problems.raise_any()


def option_of(name: str) -> str:
    """Return the command-line option of a setting: `max_rows` -> `--max-rows`."""
    return f"--{name.replace('_', '-')}"


class Refusal(Exception):
    """A request that is not carried out.

    Args:
        status: the HTTP status, 4xx or 503.
        message: a sentence for the client.
        problems: what is wrong, one sentence each.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, message: str, problems: tuple[str, ...] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.problems, self.headers = status, message, problems, headers or {}
