"""Processes that train together, as launchers start them: by torchrun's environment variables."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from harness.launch.local.pool import _context, _free_port

SECONDS = 400.0  # after which ranks that do not answer wait for one another


def together(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function of a module in so many ranks; return what each returns.

    Raises:
        Exception: of a rank; RuntimeError if one died, TimeoutError if they did not end.
    """
    context, port = _context(1), _free_port()
    members, waiting = [], {}
    for rank in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(theirs, rank, size, port, function, arguments), daemon=True)
        process.start()
        theirs.close()
        members.append(process)
        waiting[ours] = rank
    try:
        found = _answers(waiting)
    except BaseException:
        for process in members:
            process.kill()
        raise
    finally:
        for process in members:
            process.join()
    return [found[rank] for rank in range(size)]


def _answers(waiting: dict[Connection, int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    deadline = time.monotonic() + SECONDS
    while waiting:
        ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"After {SECONDS:g} s these ranks have not ended: {sorted(waiting.values())}.")
        for connection in ready:
            assert isinstance(connection, Connection)
            rank = waiting.pop(connection)
            try:
                found[rank] = connection.recv()
            except EOFError as error:
                raise RuntimeError(f"Rank {rank} died.") from error
            if isinstance(found[rank], Exception):
                raise found[rank]
    return found


def _run(
    connection: Connection, rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    import torch

    from harness.training.ranks import join

    torch.set_num_threads(1)
    place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    try:
        join()
        connection.send(function(*arguments))
    except Exception as error:  # noqa: BLE001 -- raised where the ranks were started
        error.add_note(f"Rank {rank} of {size}:\n{traceback.format_exc()}")
        connection.send(error)
