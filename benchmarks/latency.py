"""How long an OCSP answer takes at a tenth of the saturating load, while entries are rewritten."""

import asyncio
import random
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import Figure
from benchmarks.load import CONNECTIONS, get_load
from benchmarks.ocsp import REQUESTED, Served
from benchmarks.processes import LOAD_CPU, SERVER_CPU, pin
from benchmarks.status_table import AUTHORITY, RESPONDER, Issuer
from pkiserver.web.workers import StatusWorkers
from protocols.asn1 import der
from protocols.asn1.ocsp import Good
from store.response_entries import ResponseEntry, response_key
from store.response_writer import ResponseTableWriter

REWRITTEN_A_SECOND: Final = 1_000
PAUSE_S: Final = 0.1  # between two batches, as the presigner makes them
BOUND_MS: Final = 5.0


def _rewrite(path: Path, issuer: Issuer, numbers: list[int], stop: threading.Event) -> None:
    """Rewrite entries of the table at a steady rate until told to stop."""
    writer = ResponseTableWriter(path)
    source = random.Random(4)
    while not stop.wait(PAUSE_S):
        now = datetime.now(UTC).replace(microsecond=0)
        until = now + timedelta(days=2)
        writer.put(
            (
                response_key(AUTHORITY, der.integer_content(number)),
                ResponseEntry(
                    RESPONDER,
                    int(now.timestamp()),
                    int(until.timestamp()),
                    issuer.template.response_data(number, Good(), now, now, until),
                    bytes(71),
                ),
            )
            for number in source.sample(numbers, int(REWRITTEN_A_SECOND * PAUSE_S))
        )
    writer.close()


def _latencies_ms(base: str, paths: Path, seconds: int, rate: float, log: Path) -> list[float]:
    """Return the latencies of requests at a steady rate, over 32 kept connections."""
    subprocess.run(
        [
            "taskset", "-c", str(LOAD_CPU), "h2load", "--h1", f"-c{CONNECTIONS}", "-m1", f"-D{seconds}",
            f"--rps={max(rate / CONNECTIONS, 1):.0f}", f"--log-file={log}", f"--base-uri={base}",
            f"-i{paths}",
        ],
        capture_output=True, timeout=seconds + 60, check=True,
    )  # fmt: skip
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if not rows or any(row[1] != "200" for row in rows):
        raise RuntimeError("the load did not go through")
    return sorted(int(row[2]) / 1000 for row in rows)


async def _measure(folder: Path, served: Served) -> tuple[float, float, int]:
    """Return the 99th percentile and the median in milliseconds, and the requests a second asked for."""
    service = StatusWorkers(served.settings(1))
    await service.start()
    host, port = service.address
    for pid in service.pids:
        pin(pid, SERVER_CPU)
    base = f"http://{host}:{port}"
    saturating = await asyncio.to_thread(get_load, base, served.paths, served.seconds) / served.seconds
    rate = saturating / 10
    stop = threading.Event()
    writer = threading.Thread(target=_rewrite, args=(served.table, served.issuer, served.numbers, stop))
    writer.start()
    try:
        found = await asyncio.to_thread(
            _latencies_ms, base, served.paths, served.seconds * 2, rate, folder / "latencies"
        )
    finally:
        stop.set()
        await asyncio.to_thread(writer.join)
    await service.drain()
    return found[int(len(found) * 0.99)], found[len(found) // 2], int(rate)


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:
    """Measure and return the figure."""
    served = Served(folder, certificates, seconds, asked=REQUESTED)
    p99, median, rate = uvloop.run(_measure(folder, served))
    return [
        Figure(
            f"OCSP latency, 99th percentile, {rate:,} requests a second, 1,000 entries rewritten a second",
            f"{p99:.2f} ms",
            f"median: {median:.2f} ms",
            None,
            f"< {BOUND_MS:g} ms",
            p99 < BOUND_MS,
        )
    ]
