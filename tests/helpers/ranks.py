"""Processes that train together, as launchers start them: by torchrun's environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from harness.launch.local.pool import _context, _free_port


def together(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function of a module in so many ranks; give what each returns, or the exception that it raises."""
    context, port = _context(1), _free_port()
    members = []
    for rank in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(theirs, rank, size, port, function, arguments), daemon=True)
        process.start()
        theirs.close()
        members.append((process, ours))
    found = [ours.recv() for _, ours in members]
    for process, _ in members:
        process.join()
    return found


def _run(
    connection: Connection, rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    import torch

    from harness.training.ranks import join

    torch.set_num_threads(1)
    place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    join()
    try:
        connection.send(function(*arguments))
    except Exception as error:  # noqa: BLE001 -- the test looks at it
        connection.send(error)
