"""Load of CMP on loopback over plain HTTP, in a process of its own: messages as fast as they are answered.

The messages are lines of base64 and so are the answers, which are written in no order. It prints how many
seconds that took.
"""

import argparse
import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.est_load import read_answer


def requests_of(messages: Path, skip: int, ends_at: float) -> Iterator[bytes]:
    """Yield the HTTP requests of the messages from number `skip` on, until it is over."""
    with messages.open("rb") as file:
        for number, line in enumerate(file):
            if time.monotonic() >= ends_at:
                return
            if number >= skip:
                body = base64.b64decode(line)
                yield (
                    "POST /.well-known/cmp HTTP/1.1\r\nHost: localhost\r\n"
                    f"Content-Type: application/pkixcmp\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode() + body


async def client(port: int, requests: Iterator[bytes], answers: list[bytes]) -> None:
    """Send over one connection, each message once the one before was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        answers.append(await read_answer(reader))
    writer.close()


async def run(arguments: argparse.Namespace) -> None:
    since = time.monotonic()
    requests = requests_of(arguments.messages, arguments.skip, since + arguments.seconds)
    answers: list[bytes] = []
    await asyncio.gather(*(client(arguments.port, requests, answers) for _ in range(arguments.clients)))
    print(time.monotonic() - since)
    arguments.answers.write_bytes(b"".join(base64.b64encode(one) + b"\n" for one in answers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("messages", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=64)
    uvloop.run(run(parser.parse_args()))
