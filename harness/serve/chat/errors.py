"""Errors as clients of a path expect them: those of OpenAI's API have a shape of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PREFIX = "/v1/"  # of the paths of OpenAI's API
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


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
