"""Ranks: the processes that train one run together, each on one device and its share of every batch.

All hold the whole model and the whole order of rows, so every rank knows the others' shares, and the loss of a batch is
normalized over all of it. What changes weights (gradients, decisions) is exchanged; all else follows from the seeds.
Rank 0 leads: it alone evaluates and writes files.

An error in one rank must not leave the others waiting. So every exchange begins in the same way, with a word on
whether the rank has failed: a rank that fails says so at its next exchange, whichever that is, and all raise its error.
A process that dies says nothing; the others see the broken connection and exit, and their launcher starts all again.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.errors import PEERS_LOST, HarnessError

WORDS = 3  # numbers that an exchange can carry
LOOPBACK = "127.0.0.1"
MEETING = timedelta(minutes=10)  # how long ranks wait for one another at the start
# A collective has no limit of its own: rank 0 may evaluate for hours meanwhile. Hung runs are ended by their launcher.
PATIENCE = timedelta(days=30)
T = TypeVar("T")


class RankFailed(RuntimeError):
    """Another rank failed; the message is its error."""


class Ranks:
    """The ranks of a run, seen from one of them.

    Attributes:
        rank: of this process, from 0.
        size: number of ranks; 1 exchanges nothing.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this rank evaluates and writes files."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other ranks."""
        return self.size > 1

    @property
    def named(self) -> str:
        """How messages of this rank begin: empty where it is alone."""
        return f"Rank {self.rank} of {self.size}: " if self.several else ""

    def share(self, rows: int) -> slice:
        """Return this rank's part of a batch's rows; it may be empty where there are fewer rows than ranks."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def exchange(self, *words: float, error: Exception | None = None) -> list[list[float]]:
        """Tell the other ranks up to `WORDS` numbers and hear theirs; return those of each rank.

        Args:
            words: the numbers.
            error: why this rank cannot go on; it is raised here, too.

        Raises:
            Exception: of this rank; `RankFailed` or HarnessError of another one.
        """
        if not self.several:
            if error is not None:
                raise error
            return [list(words)]
        mine = torch.tensor([float(error is not None), *words, *[0.0] * (WORDS - len(words))], dtype=torch.float64)
        heard = [torch.empty_like(mine) for _ in range(self.size)]
        with _connected():
            torch.distributed.all_gather(heard, mine)
        if any(each[0] for each in heard):
            self._raise(error)
        return [each[1 : 1 + len(words)].tolist() for each in heard]

    def _raise(self, error: Exception | None) -> None:
        plain = isinstance(error, HarnessError)
        mine = None if error is None else (plain, str(error) if plain else f"{type(error).__name__}: {error}")
        said = [json.loads(each) for each in self._texts(json.dumps(mine).encode())]
        if error is None:
            rank, (plain, text) = next((rank, each) for rank, each in enumerate(said) if each is not None)
            message = f"Rank {rank} of {self.size}: {text}"
            error = HarnessError(message) if plain else RankFailed(message)
        error.told = True  # type: ignore[attr-defined]
        raise error

    def _texts(self, text: bytes) -> list[bytes]:
        """Return a text of each rank, of any length."""
        length = torch.tensor([len(text)])
        lengths = [torch.empty_like(length) for _ in range(self.size)]
        with _connected():
            torch.distributed.all_gather(lengths, length)
        sizes = [int(each) for each in lengths]
        mine = torch.tensor([*text, *[0] * (max(sizes) - len(text))], dtype=torch.uint8)
        heard = [torch.empty_like(mine) for _ in range(self.size)]
        with _connected():
            torch.distributed.all_gather(heard, mine)
        return [bytes(each[:size].tolist()) for each, size in zip(heard, sizes, strict=True)]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell the other ranks an error in the block, unless they know it."""
        try:
            yield
        except Exception as error:
            if self.several and not getattr(error, "told", False):
                self.exchange(error=error)
            raise

    def from_first(self, make: Callable[[], T]) -> T:
        """Return on every rank what rank 0 makes: what JSON can express, since unpickling could run any code.

        Raises:
            Exception: of `make`.
        """
        if not self.several:
            return make()
        made: Any = None
        text = b""
        with self.telling():
            if self.leads:
                made = make()
                text = json.dumps(made, default=float).encode()  # default: numpy's numbers
            length = int(self.exchange(float(len(text)))[0][0])
        content = torch.tensor([*text] if self.leads else [0] * length, dtype=torch.uint8)
        with _connected():
            torch.distributed.broadcast(content, src=0)
        found: T = made if self.leads else json.loads(bytes(content.tolist()))
        return found

    def same(self, parameters: Iterable[Tensor]) -> None:
        """Give parameters the values that they have on rank 0."""
        if self.several:
            whole = list(parameters)
            values = [parameter.detach().contiguous() for parameter in whole]
            self.exchange()  # nothing may fail between a word on failure and the last broadcast
            with _connected():
                for value in values:
                    torch.distributed.broadcast(value, src=0)
            for parameter, value in zip(whole, values, strict=True):
                parameter.detach().copy_(value)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up gradients over all ranks. A parameter without a gradient on any rank has none afterwards, either.

        One flat tensor a type, after the backward pass: passes of methods and regularizers are not those of one
        `forward`, which torch's DistributedDataParallel relies on to begin earlier.
        """
        if not self.several:
            return
        types = dict.fromkeys(parameter.dtype for parameter in parameters)
        groups = [[parameter for parameter in parameters if parameter.dtype == dtype] for dtype in types]
        flats = [_flat(group) for group in groups]
        self.exchange()  # a rank without memory for the flat tensors says so here
        with _connected():
            for flat in flats:
                torch.distributed.all_reduce(flat)
        for group, flat in zip(groups, flats, strict=True):
            sizes = [*(p.numel() for p in group), len(group)]
            sums = flat.split(sizes)  # type: ignore[no-untyped-call]  # torch's own
            for parameter, total, count in zip(group, sums, sums[-1].tolist(), strict=False):
                parameter.grad = total.view(parameter.shape) if count else None


def _flat(parameters: Sequence[Tensor]) -> Tensor:
    """Return the gradients of parameters of one type in one tensor; behind them, which parameters have one."""
    first = parameters[0]
    present = torch.tensor([p.grad is not None for p in parameters], dtype=first.dtype, device=first.device)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([*(part.reshape(-1) for part in parts), present])


ALONE = Ranks()


def current() -> Ranks:
    """Return the ranks that this process has joined; `ALONE` without others."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ALONE
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


def join(key: str = "") -> None:
    """Join the ranks that the environment names as torchrun does: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

    Where rank 0 is at `LOOPBACK`, so are all, and nobody listens to the network.

    Args:
        key: of these ranks; others that take the same port do not meet them.

    Raises:
        HarnessError: the ranks do not meet within `MEETING`.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # absent from some builds

    # Gradients are exchanged where they are; all else is on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if address == LOOPBACK and sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        listening = None
        if rank == 0 and address == LOOPBACK:  # by itself, torch's store listens on all interfaces
            listening = socket.create_server((address, port)).detach()
        store = TCPStore(address, port, size, rank == 0, MEETING, master_listen_fd=listening)
        torch.distributed.init_process_group(
            backend, store=PrefixStore(key, store), rank=rank, world_size=size, timeout=MEETING
        )
    except (RuntimeError, OSError) as error:
        named = {name: os.environ.get(name) or "not set" for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
        raise HarnessError(
            f"The {size} processes that train this run did not meet at {address}, port {port}, within "
            f"{MEETING.total_seconds() / 60:g} minutes or at all ({type(error).__name__}: {error}). Every node must "
            "reach this address and port, and the nodes each other by a network interface that they all have. On a "
            "cluster, name it: +slurm.environment.GLOO_SOCKET_IFNAME=<interface>, with GPUs also "
            "+slurm.environment.NCCL_SOCKET_IFNAME=<interface> (now "
            f"{', '.join(f'{name}: {value}' for name, value in named.items())})."
        ) from error
    torch.distributed.distributed_c10d._set_pg_timeout(PATIENCE)


def leave() -> None:
    """Close the connections to the other ranks."""
    torch.distributed.destroy_process_group()


@contextmanager
def _connected() -> Iterator[None]:
    """End this process if a collective in the block fails: it cannot be said to the others in any other way.

    Mostly a peer is dead, and nothing here is at fault. Without cleaning up, as a kill would: the state on disk is
    complete at any time.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        with suppress(Exception):
            last_words[-1](f"{current().named}an exchange failed: {type(error).__name__}: {error}")
        os._exit(1 if isinstance(error, MemoryError | torch.OutOfMemoryError) else PEERS_LOST)


def _print(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201 -- a job's output, where its launcher looks for them


last_words: list[Callable[[str], None]] = [_print]  # the last one is told why this process ends
