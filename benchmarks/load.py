"""Load on loopback, bounded in count and time: h2load for GET, a small client of our own for POST."""

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.processes import LOAD_CPU, pin

CONNECTIONS: Final = 32
_POST_HEAD: Final = (
    b"POST /ocsp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/ocsp-request\r\n"
    b"Content-Length: %d\r\n\r\n"
)


def get_load(base: str, paths: Path, seconds: int, *options: str) -> int:
    """Ask for the paths in a file in turn, over 32 kept connections; return how many answers came.

    `options` are further ones of h2load. Raises `RuntimeError` where any answer was neither 200 nor 304.
    """
    result = subprocess.run(
        [
            "taskset", "-c", str(LOAD_CPU), "h2load", "--h1", f"-c{CONNECTIONS}", "-m1",
            f"-D{seconds}", f"--base-uri={base}", f"-i{paths}", *options,
        ],
        capture_output=True, text=True, timeout=seconds + 60, check=True,
    )  # fmt: skip
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", result.stdout)
    if codes is None or any(int(other) for other in codes.groups()[2:]):
        raise RuntimeError(f"the load did not go through:\n{result.stdout}{result.stderr}")
    return int(codes[1]) + int(codes[2])


def post_load(host: str, port: int, bodies: Path, seconds: int) -> int:
    """POST the requests in a file (length-prefixed) in turn; return how many answers came."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", host, str(port), str(bodies), str(seconds)],
        capture_output=True, text=True, timeout=seconds + 60, check=True,
    )  # fmt: skip
    return int(result.stdout)


def write_bodies(path: Path, bodies: list[bytes]) -> None:
    """Write requests as `post_load` reads them."""
    path.write_bytes(b"".join(len(body).to_bytes(2, "big") + body for body in bodies))


class _Poster(asyncio.Protocol):
    """One connection that sends the next request when an answer is whole."""

    def __init__(self, requests: list[bytes], start: int) -> None:
        self._requests = requests
        self._next = start
        self._buffer = b""
        self.answers = 0
        self.failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send()

    def _send(self) -> None:
        self._transport.write(self._requests[self._next])  # type: ignore[attr-defined]  # a socket's transport
        self._next = (self._next + CONNECTIONS) % len(self._requests)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"Content-Length: ") + 16
        length = int(self._buffer[at : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        self.failed |= not self._buffer.startswith(b"HTTP/1.1 200 ")
        self._buffer = b""
        self.answers += 1
        self._send()


async def _post(host: str, port: int, bodies: Path, seconds: float) -> int:
    data = bodies.read_bytes()
    requests, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : end]
        requests.append(_POST_HEAD % len(body) + body)
        at = end
    loop = asyncio.get_running_loop()
    posters = []
    for number in range(CONNECTIONS):
        _, poster = await loop.create_connection(lambda start=number: _Poster(requests, start), host, port)
        posters.append(poster)
    await asyncio.sleep(seconds)
    if any(poster.failed for poster in posters):
        raise RuntimeError("an answer was not 200")
    return sum(poster.answers for poster in posters)


if __name__ == "__main__":
    pin(0, LOAD_CPU)
    print(uvloop.run(_post(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))))
