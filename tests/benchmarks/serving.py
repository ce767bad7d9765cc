"""`harness serve` against FastAPI with `pipeline()`, on the same cores, in turn; overload; SIGTERM under load.

`python -m tests.benchmarks.serving --rounds 2 --seconds 5` trains a linear probe on MiniLM, exports it, starts both
services on it, and drives them one after the other (A B A B). Clients share the cores with the services, as little as
raw sockets let them. Ratios of one run count; the seconds of a machine that does other work do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from harness.records.files import write_json

PARTS = 5  # of the overload
WORDS = ("my", "parcel", "card", "account", "refund", "has", "not", "arrived", "yet", "please", "help", "why", "late")


@dataclass
class Load:
    """What clients saw: seconds of each answer, statuses, connections that broke after a request was sent."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    wall: float = 0.0

    @property
    def throughput(self) -> float:
        return self.statuses[200] / self.wall

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


def requests_of(port: int, count: int, more: dict[str, Any]) -> list[bytes]:
    """Requests of one text of 4 to 16 words each."""
    source, found = random.Random(0), []
    for _ in range(count):
        body = json.dumps({"texts": [" ".join(source.choices(WORDS, k=source.randint(4, 16)))], **more}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        found.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return found


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bool]:
    """Send a request; return its status, and whether the connection stays open."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" not in head


async def closed_loop(port: int, clients: int, seconds: float, more: dict[str, Any], until_gone: bool = False) -> Load:
    """Clients that each send a request after the answer to the one before."""
    load, requests = Load(), requests_of(port, 256, more)
    began = time.perf_counter()

    async def client(number: int) -> None:
        place = number
        while time.perf_counter() - began < seconds or until_gone:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:  # refused: not taken
                return
            with suppress(OSError):
                while time.perf_counter() - began < seconds or until_gone:
                    start = time.perf_counter()
                    try:
                        status, stays = await ask(reader, writer, requests[place % len(requests)])
                    except (OSError, asyncio.IncompleteReadError):
                        load.lost += 1
                        break
                    load.seconds.append(time.perf_counter() - start)
                    load.statuses[status] += 1
                    place += clients
                    if not stays:
                        break
            writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.wall = time.perf_counter() - began
    return load


async def open_loop(port: int, rate: float, seconds: float, more: dict[str, Any]) -> Load:
    """Requests at a fixed rate, whatever becomes of those before."""
    load, requests = Load(), requests_of(port, 256, more)

    async def one(number: int) -> None:
        start = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            status, _ = await ask(reader, writer, requests[number % len(requests)])
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            load.lost += 1
            return
        load.seconds.append(time.perf_counter() - start)
        load.statuses[status] += 1

    began, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    load.wall = time.perf_counter() - began
    return load


@contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a process of its own, once it answers."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with suppress(httpx.HTTPError):
                if httpx.post(f"http://127.0.0.1:{port}/predict", json={"texts": ["hello"]}, timeout=30).is_success:
                    break
            assert process.poll() is None
            time.sleep(0.5)
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def trained(home: Path) -> Path:
    """A linear probe on MiniLM, exported."""
    from harness.export.exporting import Request, export
    from harness.export.winner import winner
    from harness.records.run_spec import RunBatch
    from harness.runs.execute import execute
    from tests.helpers.small_dataset import config, spec

    planned = spec(config(home, home / "cache", "linear_probe", task={"max_length": 64}), home / "runs" / "probe")
    execute(RunBatch((planned,)))
    export(winner(planned.paths.model, home), Request(home / "merged"), home / "cache")
    return home / "merged"


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--overload-seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path, help="where the results are written, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        model, ports = trained(home), {"ours": free_port(), "stock": free_port()}
        ours = [sys.executable, "-m", "harness", "serve", str(model), "--port", str(ports["ours"])]
        ours += ["--engine", options.engine, "--cache-dir", str(home / "cache"), "--feedback", str(home / "feedback")]
        stock = [sys.executable, "-m", "uvicorn", "tests.benchmarks.stock.serving_app:app", "--log-level", "warning"]
        with (
            started([*stock, "--port", str(ports["stock"])], ports["stock"], STOCK_MODEL=str(model)),
            started(ours, ports["ours"]) as service,
        ):
            found = measured(options, ports, service)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if options.output is not None:
        write_json(options.output, found)


def measured(options: argparse.Namespace, ports: dict[str, int], service: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Throughput and latency of both in turn; then overload and SIGTERM of ours."""
    rows: dict[str, dict[str, list[float]]] = {name: {"throughput_64": [], "p95_8": [], "p50_8": []} for name in ports}
    for _ in range(options.rounds):
        for name, port in ports.items():
            many = asyncio.run(closed_loop(port, 64, options.seconds, {}))
            few = asyncio.run(closed_loop(port, 8, options.seconds, {}))
            assert set(many.statuses) | set(few.statuses) == {200} and not many.lost + few.lost
            rows[name]["throughput_64"].append(many.throughput)
            rows[name]["p95_8"].append(few.quantile(0.95))
            rows[name]["p50_8"].append(few.quantile(0.5))
    middle = {name: {key: statistics.median(values) for key, values in each.items()} for name, each in rows.items()}
    rate = 1.5 * middle["ours"]["throughput_64"]
    before, parts = memory_mb(service), list[Load]()
    sizes = [before]
    for _ in range(PARTS):  # memory is looked at in between
        parts.append(asyncio.run(open_loop(ports["ours"], rate, options.overload_seconds / PARTS, {})))
        sizes.append(memory_mb(service))
    statuses = sum((part.statuses for part in parts), Counter[int]())
    ending = asyncio.run(ended(ports["ours"], service))
    return {
        "throughput_ratio": middle["ours"]["throughput_64"] / middle["stock"]["throughput_64"],
        "p95_ratio": middle["ours"]["p95_8"] / middle["stock"]["p95_8"],
        "rows": rows,
        "overload": {
            "rate": rate,
            "statuses": statuses,
            "lost": sum(part.lost for part in parts),
            "memory_mb": [round(size) for size in sizes],
        },
        "sigterm": {"statuses": ending.statuses, "lost": ending.lost, "exit": service.wait(timeout=300)},
    }


async def ended(port: int, service: subprocess.Popen[bytes]) -> Load:
    """SIGTERM in the middle of 16 clients' requests."""
    load = asyncio.create_task(closed_loop(port, 16, 0, {}, until_gone=True))
    await asyncio.sleep(1.0)
    service.send_signal(signal.SIGTERM)
    return await load


if __name__ == "__main__":
    main()
