"""What the main functions of all commands have in common: exit codes, and messages instead of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from io import TextIOWrapper
from typing import ParamSpec

from harness.errors import HarnessError, is_disk_full

BAD_REQUEST, INTERRUPTED = 2, 130  # exit codes; 0 is success, and 1 and 3 are each command's own

_P = ParamSpec("_P")


def command(main: Callable[_P, int]) -> Callable[_P, int]:
    """Wrap the main function of a command, so that what a user can mend ends it with a message and an exit code.

    What `main` catches itself stays its own affair.

    Returns:
        A function that gives the exit code: that of `main`; 2 for a mistake in what was asked, a full disk included;
        130 after Ctrl-C; 0 where the reader of a pipe has left, as `head` does.
    """

    @wraps(main)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> int:
        try:
            with quiet_when_closed():
                return main(*args, **kwargs)
        except HarnessError as error:
            return print_problems(error.problems)
        except KeyboardInterrupt:
            return INTERRUPTED
        except OSError as error:
            if not is_disk_full(error) and (what := misplaced(error)) is None:
                raise
            return print_problems([disk_full(error) if is_disk_full(error) else str(what)])
        finally:
            keep_exit_code()

    return run


def keep_exit_code() -> None:
    """Let the exit code stand after an interrupt that was answered.

    CPython notes an interrupt that leaves code executed from text (a dataclass that an import defines, for instance)
    and, whoever catches it later, ends the process by SIGINT. The next code executed from text clears the note.
    """
    exec("")  # nothing is executed


@contextmanager
def quiet_when_closed() -> Iterator[None]:
    """Leave with 0 when the reader of standard output has closed it, also if that shows only when it is flushed.

    Characters that the output's encoding lacks, as under `PYTHONIOENCODING=ascii`, become question marks.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def print_problems(problems: Iterable[str]) -> int:
    """Print problems as errors; return the exit code that goes with them."""
    sys.stderr.write("".join(f"Error: {problem}\n" for problem in problems))
    return BAD_REQUEST


def disk_full(error: OSError) -> str:
    """Say that the disk is full, and what to do."""
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"The disk is full{where}. Nothing that has a record is lost: free space for runs_dir, reports_dir and "
        "cache_dir, and run the same command again."
    )


def misplaced(error: OSError) -> str | None:
    """Say that a file is a folder, or the reverse, or not the user's to use; None if the error is another one."""
    if not isinstance(error, IsADirectoryError | NotADirectoryError | PermissionError) or error.filename is None:
        return None
    where = error.filename2 or error.filename
    return (
        f"{where} cannot be used ({error.strerror}): a file and a folder stand in place of one another, or it is not "
        "yours to use. Mend or remove it, and run the same command again; nothing that has a record is lost."
    )
