"""Errors that a user can mend. Each states the rule, the value, the alternatives and what to do."""

from __future__ import annotations

import difflib
import errno
import re
import shlex
from collections.abc import Iterable

LISTED = 12  # alternatives that a message names
PEERS_LOST = 75  # exit code of a rank whose exchange with the others failed; EX_TEMPFAIL of sysexits.h


class HarnessError(Exception):
    """A mistake in what was asked, told without a traceback; all problems at once.

    Args:
        problems: one message a problem.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Problems:
    """Collects problems, so that a user mends all of them in one go.

    >>> problems = Problems()
    >>> problems.check(rate > 0, f"train.lr must be above 0, not {rate}.")
    >>> problems.raise_any()
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        """Note a problem."""
        self.messages.append(message)

    def check(self, holds: bool, message: str) -> bool:
        """Note a problem unless the rule holds; return whether it does."""
        if not holds:
            self.messages.append(message)
        return holds

    def extend(self, error: HarnessError) -> None:
        """Note the problems of an error that was raised elsewhere."""
        self.messages.extend(error.problems)

    def whole(self, key: str, value: object, least: int = 1) -> None:
        """Note a value that is no whole number, or too small."""
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        self.check(good, f"{key} must be a whole number, {least} or more, not {value}.")

    def raise_any(self) -> None:
        """Raise a `HarnessError` with all problems, each once, if there are any."""
        if self.messages:
            raise HarnessError(*dict.fromkeys(self.messages))


def nearest(name: object, options: Iterable[object]) -> str:
    """Name the alternatives to an unknown name, nearest first: a sentence to end an error message with."""
    known = sorted(map(str, options))
    near = close(str(name), known)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    if len(known) <= LISTED:
        return f"{hint}Known: {', '.join(known) or 'none'}."
    return hint.strip() or f"Known: {', '.join(known[:LISTED])} and {len(known) - LISTED} more."


def close(name: str, options: Iterable[str]) -> list[str]:
    """The names nearest to an unknown one, at most three, the nearest first."""
    return difflib.get_close_matches(name, sorted(options), n=3, cutoff=0.6)


def typed(key: str, value: object) -> str:
    r"""An override as one types it in a POSIX shell: quoted for Hydra's grammar and for the shell where they need it.

    >>> typed("task.path", "ok (1).csv")
    '\'task.path="ok (1).csv"\''
    """
    return shlex.quote(f"{key}={quoted(value)}")


def quoted(value: object) -> str:
    """A value in Hydra's grammar, without the shell's quotes; a text that would be read as another type is quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(quoted(each) for each in value)}]"
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./@%+|-]*", text) and text.lower() not in (
        "true", "false", "null", "nan", "inf",
    )  # fmt: skip
    if not isinstance(value, str) or plain:
        return text
    # Backslashes count only before a quote, the closing one included; ${ is OmegaConf's unless one precedes it.
    text = re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + "\\${", text)
    text = re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + ("\\" if match[2] else "") + match[2], text)
    return f'"{text}"'


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an exception, at first or second hand."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors has an exception of its own.
    return "no space left on device" in str(error).lower() or is_disk_full(error.__cause__)
