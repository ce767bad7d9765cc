"""API keys: who may ask. Each belongs to a tenant; only digests of keys are kept, and no key is ever printed."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError, Problems

VARIABLE = "HARNESS_API_KEYS"  # tenant:key, several separated by commas
OPEN = "local"  # tenant of everybody where there are no keys
SHORTEST = 16  # characters of a key
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # also the name of a file


@dataclass(frozen=True)
class Keys:
    """The keys of a service.

    Attributes:
        digests: SHA-256 of each key, with its tenant; empty: everybody may ask.
    """

    digests: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def tenant(self, headers: Mapping[str, str]) -> str | None:
        """Return the tenant whose key a request carries; None if it carries none that is known.

        The key is in `Authorization: Bearer <key>` or `X-API-Key: <key>`. All keys are compared in constant time.
        """
        if not self.digests:
            return OPEN
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(given)
        found = None
        for known, tenant in self.digests.items():
            if hmac.compare_digest(known, digest):
                found = tenant
        return found


def read_keys(file: Path | None) -> Keys:
    """Read the keys of a file, or those of the environment variable `HARNESS_API_KEYS`.

    Args:
        file: lines `tenant:key`; empty lines and lines that start with # are skipped.

    Raises:
        HarnessError: the file cannot be read, or some entries are no keys. No message repeats a key.
    """
    if file is None:
        text = os.environ.get(VARIABLE, "")
        return _parsed(
            [(f"entry {number} of {VARIABLE}", each) for number, each in _numbered(text.split(","))], VARIABLE
        )
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise HarnessError(
            f"--keys {file} cannot be read ({reason}): name a text file with a line tenant:key for each key."
        ) from None
    entries = [(f"line {number} of {file}", line) for number, line in _numbered(lines) if not line.startswith("#")]
    if not entries:
        raise HarnessError(
            f"--keys {file} has no key, so nobody could ask: write a line tenant:key for each, or leave --keys out."
        )
    return _parsed(entries, str(file))


def _numbered(lines: list[str]) -> list[tuple[int, str]]:
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _parsed(entries: list[tuple[str, str]], source: str) -> Keys:
    problems, digests = Problems(), dict[bytes, str]()
    for where, entry in entries:
        tenant, colon, key = (part.strip() for part in entry.partition(":"))
        if not colon:
            problems.add(f"{where} has no colon: write tenant:key.")
            continue
        problems.check(
            bool(_TENANT.fullmatch(tenant)),
            f"{where}: a tenant's name has 1 to 64 letters, digits, - and _, and begins with a letter or digit.",
        )
        problems.check(
            len(key) >= SHORTEST and key.isascii() and key.isprintable() and " " not in key,
            f"{where}: a key has {SHORTEST} or more visible ASCII characters. To make one: openssl rand -hex 24",
        )
        problems.check(_digest(key) not in digests, f"{where}: another entry of {source} has the same key.")
        digests[_digest(key)] = tenant
    problems.raise_any()
    return Keys(digests)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
