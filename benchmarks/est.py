"""EST: certificates a CPU second, new mutual TLS connections, latency of 64 clients, memory, dawdlers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.est_server import EnrolmentServer, bare_server, client_identity, enrolment_server, run_load
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s, private_mib

CLIENTS: Final = 64
DAWDLERS: Final = 1_000
MOST_A_SECOND: Final = 1_500  # CSRs made beforehand for a second of load


def p99(found: dict[str, Any]) -> float:
    """Return the latency that 99 of 100 keep within, in milliseconds."""
    latencies = sorted(found["ms"])
    return float(latencies[len(latencies) * 99 // 100])


def _rate(found: dict[str, Any]) -> float:
    return len(found["ms"]) / float(found["seconds"])


def _a_cpu_second(folder: Path, kind: str, seconds: int) -> float:
    with enrolment_server(folder / kind.replace(":", "-"), kind, seconds * MOST_A_SECOND * 2) as server:
        server.load("kept", clients=CLIENTS, seconds=1)
        found, used = server.measured("kept", clients=CLIENTS, seconds=seconds)
        return len(found["ms"]) / used


@contextmanager
def _dawdlers(server: EnrolmentServer) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.est_load", "dawdling", str(server.folder), str(server.port)]
    process = subprocess.Popen([*command, "--clients", str(DAWDLERS)])
    try:
        time.sleep(3)  # until they hold what they get
        yield
    finally:
        process.terminate()
        process.wait()


def _handshakes(server: EnrolmentServer, seconds: int) -> tuple[float, float]:
    """Return mutual handshakes of plain asyncio a second, and a CPU second of its server."""
    with bare_server(server) as (pid, port):
        run_load("handshakes", server.folder, port, clients=CLIENTS, seconds=1, mutual=True)
        before = cpu_s([pid])
        found = run_load("handshakes", server.folder, port, clients=CLIENTS, seconds=seconds, mutual=True)
        return _rate(found), len(found["ms"]) / (cpu_s([pid]) - before)


def _connection_us(server: EnrolmentServer, seconds: int) -> float:
    """Return the CPU that a new mutual TLS connection adds to a request that costs little, in µs.

    An enrolment would tell of more than the connection: those that come one by one share fewer commits.
    """

    def a_request(mode: str) -> float:
        before = cpu_s(server.pids)
        found = run_load(
            mode, server.folder, server.port, clients=CLIENTS, seconds=seconds, mutual=True, cacerts=True
        )
        return (cpu_s(server.pids) - before) / len(found["ms"])

    return 1e6 * (a_request("fresh") - a_request("kept"))


def _memory(server: EnrolmentServer, enrolments: int) -> tuple[float, float]:
    """Return the private memory of the server's main process before and after so many enrolments."""
    before = private_mib(server.pid)
    until = server.asked + enrolments
    while server.asked < until:
        server.load("kept", clients=CLIENTS, seconds=10)
    return before, private_mib(server.pid)


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:
    """Measure and return the figures; a twentieth of the certificates is enrolled while memory is watched."""
    enrolments = certificates // 20
    p384 = _a_cpu_second(folder, "ec:P-384", seconds)
    count = seconds * MOST_A_SECOND * 6 + enrolments
    with enrolment_server(folder / "p256", "ec:P-256", count) as server:
        client_identity(server)
        server.load("kept", clients=CLIENTS, seconds=1)
        found, used = server.measured("kept", clients=CLIENTS, seconds=seconds)
        p256, saturation = len(found["ms"]) / used, _rate(found)
        handshakes, handshakes_cpu = _handshakes(server, seconds)
        connection_us = _connection_us(server, seconds)
        found, used = server.measured("fresh", clients=CLIENTS, seconds=seconds, mutual=True)
        fresh, fresh_cpu = _rate(found), len(found["ms"]) / used
        steady = server.load("rate", clients=CLIENTS, seconds=seconds, rate=0.8 * saturation)
        with _dawdlers(server):
            beside = server.load("rate", clients=8, seconds=seconds, rate=0.3 * saturation)
        before, after = _memory(server, enrolments)
    return [
        Figure(
            "simpleenroll, P-256 CA, a CPU second", f"{p256:.0f}", f"P-384 CA: {p384:.0f}",
            None, ">= 600", p256 >= 600,
        ),
        Figure(
            "a new mutual TLS connection for each, a second", f"{fresh:.0f}",
            f"bare asyncio handshakes: {handshakes:.0f}", fresh / handshakes, ">= 0.7",
            fresh / handshakes >= 0.7,
        ),
        Figure(
            "the same, a CPU second", f"{fresh_cpu:.0f}", f"bare: {handshakes_cpu:.0f}",
            fresh_cpu / handshakes_cpu,
        ),
        Figure(
            "CPU that this connection adds to an enrolment", f"{1e6 * (1 / fresh_cpu - 1 / p256):.0f} µs",
            f"a bare handshake: {1e6 / handshakes_cpu:.0f} µs",
            (1 / fresh_cpu - 1 / p256) * handshakes_cpu,
        ),
        Figure(
            "CPU that it adds to a request for the CA certificates", f"{connection_us:.0f} µs",
            f"a bare handshake: {1e6 / handshakes_cpu:.0f} µs", connection_us * handshakes_cpu / 1e6,
        ),
        Figure(
            f"p99 of {CLIENTS} clients at 80 % of {saturation:.0f} a second", f"{p99(steady):.0f} ms", "",
            None, "< 250 ms", p99(steady) < 250,
        ),
        Figure(
            f"p99 beside {DAWDLERS:,} dawdling connections of one address", f"{p99(beside):.0f} ms", "",
            None, "< 500 ms", p99(beside) < 500,
        ),
        Figure(
            f"memory after {enrolments:,} enrolments", f"{after:.0f} MiB", f"before them: {before:.0f} MiB",
            after / before, "<= 1.1", after <= 1.1 * before,
        ),
    ]  # fmt: skip
