"""Load of EST on loopback, in a process of its own: enrolments or handshakes, as fast as may be or at a rate.

It prints one JSON object: answers, seconds, latencies in milliseconds.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, repeat
from pathlib import Path
from typing import Final

import uvloop

PATH: Final = "/.well-known/est/simpleenroll"
CACERTS: Final = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Load:
    """What is asked of whom, and what came of it."""

    host: str
    port: int
    tls: ssl.SSLContext
    requests: Iterator[bytes]
    ends_at: float
    latencies: list[float] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_at

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls, server_hostname="localhost")

    def next(self) -> bytes | None:
        return next(self.requests, None) if self.goes_on else None


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of one answer, which must be 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.index(b"Content-Length: ") + 16
    body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"an answer was not 200: {head[:40]!r} {body[:200]!r}")
    return body


async def kept(load: Load) -> None:
    """One client that asks over one connection."""
    reader, writer = await load.connected()
    while (request := load.next()) is not None:
        since = time.monotonic()
        writer.write(request)
        await read_answer(reader)
        load.latencies.append(time.monotonic() - since)
    writer.transport.abort()


async def fresh(load: Load) -> None:
    """One client that makes a connection for each request."""
    while (request := load.next()) is not None:
        since = time.monotonic()
        reader, writer = await load.connected()
        writer.write(request)
        await read_answer(reader)
        load.latencies.append(time.monotonic() - since)
        writer.transport.abort()


async def handshakes(load: Load) -> None:
    """One client that only connects and gets one octet."""
    while load.goes_on:
        since = time.monotonic()
        reader, writer = await load.connected()
        await reader.readexactly(1)
        load.latencies.append(time.monotonic() - since)
        writer.transport.abort()


async def at_rate(load: Load, clients: int, rate: float) -> None:
    """Send at this rate, whatever the answers do; a latency counts from the moment it was due."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(clients):
        idle.put_nowait(await load.connected())

    async def one(due: float, request: bytes) -> None:
        reader, writer = await idle.get()
        writer.write(request)
        await read_answer(reader)
        load.latencies.append(time.monotonic() - due)
        idle.put_nowait((reader, writer))

    due = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        while (request := load.next()) is not None:
            tasks.create_task(one(due, request))
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def dawdling(host: str, port: int, address: str, count: int, tls: ssl.SSLContext) -> None:
    """Hold `count` connections from one address for ever: some in the handshake, some in their header."""

    async def hold(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                context = tls if number % 2 else None
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    local_addr=(address, 0),
                    ssl=context,
                    server_hostname="localhost" if context else None,
                )
                writer.write(b"POST / HTTP/1.1\r\nX: ")
                await reader.readexactly(1)
            await asyncio.sleep(0.5)  # it was closed: come again

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(hold(number))


def requests_of(folder: Path, credentials: list[str], skip: int) -> Iterator[bytes]:
    """Yield the enrolment requests for the CSRs of a folder, from number `skip` on."""
    basics = cycle(base64.b64encode(one.encode()).decode() for one in credentials)
    with (folder / "csrs").open("rb") as file:
        for number, line in enumerate(file):
            if number >= skip:
                body = line.strip()
                yield (
                    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
                    f"Authorization: Basic {next(basics)}\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode() + body


async def run(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    tls = ssl.create_default_context(cafile=str(folder / "root.pem"))
    if arguments.mutual:
        tls.load_cert_chain(folder / "client.pem")
    if arguments.mode == "dawdling":
        await dawdling("127.0.0.1", arguments.port, "127.0.0.2", arguments.clients, tls)
    credentials = (folder / "credentials").read_text().split()
    enrolments = requests_of(folder, credentials, arguments.skip)
    requests = repeat(CACERTS) if arguments.cacerts else enrolments
    since = time.monotonic()
    load = Load("127.0.0.1", arguments.port, tls, requests, since + arguments.seconds)
    if arguments.mode == "rate":
        await at_rate(load, arguments.clients, arguments.rate)
    else:
        client = {"kept": kept, "fresh": fresh, "handshakes": handshakes}[arguments.mode]
        await asyncio.gather(*(client(load) for _ in range(arguments.clients)))
    elapsed = time.monotonic() - since
    print(json.dumps({"seconds": elapsed, "ms": [round(one * 1000, 2) for one in load.latencies]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["kept", "fresh", "handshakes", "rate", "dawdling"])
    parser.add_argument("folder")
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--mutual", action="store_true")
    parser.add_argument("--cacerts", action="store_true", help="ask for the CA certificates, not to enrol")
    uvloop.run(run(parser.parse_args()))
