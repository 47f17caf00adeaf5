"""OCSP over HTTP: CPU time a request beside nginx and aiohttp, two workers beside one, memory, start."""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import Figure, at_most
from benchmarks.load import get_load, post_load, write_bodies
from benchmarks.processes import SERVER_CPU, cpu_s, pin, private_mib
from benchmarks.status_table import Issuer, fill, make_issuer, request, request_path, serials
from benchmarks.yardsticks import aiohttp_application, nginx
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.workers import StatusWorkers, StatusWorkersSettings

REQUESTED: Final = 200_000  # different certificates asked for, in random order
ROUNDS: Final = 3  # the median is taken: these machines are noisy


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cost_us(pids: Callable[[], list[int]], load: Callable[[], int]) -> float:
    """Return CPU microseconds a request: the median of some rounds of load."""
    costs = []
    for _ in range(ROUNDS):
        before = cpu_s(pids())
        answers = load()
        costs.append((cpu_s(pids()) - before) / answers * 1e6)
    return sorted(costs)[ROUNDS // 2]


class Served:
    """A table of this many certificates, and requests for some of them, in random order."""

    def __init__(self, folder: Path, certificates: int, seconds: int, asked: int = REQUESTED) -> None:
        self.seconds = seconds
        self.table = folder / "table"
        self.public = folder / "public"
        (self.public / "crl").mkdir(parents=True)
        self.issuer: Issuer = make_issuer()
        self.numbers = numbers = serials(certificates)
        fill(self.table, self.issuer, numbers)
        chosen = random.Random(3).sample(numbers, min(asked, certificates))
        self.path = request_path(self.issuer, chosen[0])
        self.paths = folder / "paths"
        self.paths.write_text("".join(f"{request_path(self.issuer, n)}\n" for n in chosen))
        self.bodies = folder / "bodies"
        write_bodies(self.bodies, [request(self.issuer, number) for number in chosen])

    def settings(self, workers: int) -> StatusWorkersSettings:
        limits = HTTPLimits(idle_s=600.0)
        return StatusWorkersSettings(
            self.table, self.public, (("127.0.0.1", 0),), workers=workers, limits=limits
        )


async def _with_workers(bench: Served, workers: int) -> dict[str, float]:
    """Return GET and POST costs, private memory and seconds to the first answer of some workers."""
    service = StatusWorkers(bench.settings(workers))
    since = time.monotonic()
    await service.start()
    host, port = service.address
    await asyncio.to_thread(get_load, f"http://{host}:{port}", bench.paths, 1)
    first_s = time.monotonic() - since - 1
    for pid in service.pids:
        if workers == 1:
            pin(pid, SERVER_CPU)
    get_us = await asyncio.to_thread(
        cost_us, lambda: service.pids, lambda: get_load(f"http://{host}:{port}", bench.paths, bench.seconds)
    )
    post_us = await asyncio.to_thread(
        cost_us, lambda: service.pids, lambda: post_load(host, port, bench.bodies, bench.seconds)
    )
    memory = max(private_mib(pid) for pid in service.pids)
    await service.drain()
    return {"get": get_us, "post": post_us, "memory": memory, "first": first_s}


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:
    """Measure and return the figures."""
    bench = Served(folder, certificates, seconds)
    size = 1000  # of one whole response, body only, as served below
    one = uvloop.run(_with_workers(bench, 1))
    port = free_port()
    with nginx(folder / "nginx", port, bytes(size)) as pid:
        paths = folder / "file-path"
        paths.write_text("/file\n")
        nginx_us = cost_us(lambda: [pid], lambda: get_load(f"http://127.0.0.1:{port}", paths, seconds))
    port = free_port()
    with aiohttp_application(bench.table, port, bench.path) as pid:
        aiohttp_us = cost_us(
            lambda: [pid], lambda: get_load(f"http://127.0.0.1:{port}", bench.paths, seconds)
        )
    two = uvloop.run(_with_workers(bench, 2))
    beside = "nginx, static file"
    return [
        at_most("OCSP GET, CPU a request", one["get"], "µs", beside, nginx_us, 1.5),
        at_most("OCSP POST, CPU a request", one["post"], "µs", beside, nginx_us, 1.5),
        at_most("OCSP GET", one["get"], "µs", "the same in aiohttp", aiohttp_us, 1 / 3),
        at_most("OCSP GET, two workers", two["get"], "µs", "one worker", one["get"], 1.1),
        Figure(
            f"memory of a worker, {certificates:,} responses", f"{one['memory']:.0f} MiB", "", None,
            "< 100 MiB", one["memory"] < 100,
        ),
        Figure("start to first answers", f"{one['first']:.2f} s", "", None, "< 2 s", one["first"] < 2),
    ]  # fmt: skip
