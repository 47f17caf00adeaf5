"""What a CRL costs to serve: beside nginx on the same file, and its revalidation beside an OCSP answer.

And how long OCSP answers take while a CRL of 40 MB is replaced and read anew each second.
"""

import asyncio
import hashlib
import itertools
import os
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.figures import Figure, at_most
from benchmarks.latency import BOUND_MS, latencies_ms
from benchmarks.load import get_load
from benchmarks.ocsp import Served, cost_us, free_port
from benchmarks.processes import SERVER_CPU, pin, private_mib
from benchmarks.yardsticks import nginx
from pkiserver.web.workers import StatusWorkers
from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list, revoked_entry

CRL_BYTES: Final = 1_000_000
LARGE_CRL_BYTES: Final = 40_000_000
OCSP_A_SECOND: Final = 1_000
CERTIFICATES: Final = 20_000  # an OCSP answer costs the same among a million
_ECDSA_WITH_SHA256: Final = der.sequence(der.oid("1.2.840.10045.4.3.2"))


def make_crl(size: int) -> bytes:
    """Return a signed CRL of about this size."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    one = len(revoked_entry(1 << 150, now, 1))
    entries = b"".join(revoked_entry((1 << 150) + n, now, 1) for n in range(size // one))
    name = der.sequence()
    tbs = build_tbs_cert_list(_ECDSA_WITH_SHA256, name, now, now + timedelta(days=1), entries, bytes(20), 1)
    return assemble_crl(tbs, _ECDSA_WITH_SHA256, key.sign(tbs, ec.ECDSA(hashes.SHA256())))


def _replace(path: Path, base: str, stop: threading.Event) -> None:
    """Publish one of two large CRLs in turn each second, and ask for it, so that it is read.

    They are written before: who measures shares a processor with this thread.
    """
    content = make_crl(LARGE_CRL_BYTES)
    editions = [path.with_suffix(f".{number}") for number in range(2)]
    for edition in editions:
        edition.write_bytes(content)
    head = urllib.request.Request(f"{base}/crl/{path.name}", method="HEAD")
    for edition in itertools.cycle(editions):
        fresh = path.with_suffix(".new")
        os.link(edition, fresh)
        fresh.rename(path)
        urllib.request.urlopen(head, timeout=10).close()
        if stop.wait(1.0):
            return


async def _with_worker(bench: Served, paths: Path, tag: str) -> dict[str, float]:
    """Return the costs of one worker: of an OCSP GET, of the CRL whole, and of its revalidation."""
    service = StatusWorkers(bench.settings(1))
    await service.start()
    host, port = service.address
    base = f"http://{host}:{port}"
    (pid,) = service.pids
    pin(pid, SERVER_CPU)

    async def cost(asked: Path, *options: str) -> float:
        return await asyncio.to_thread(
            cost_us, lambda: [pid], lambda: get_load(base, asked, bench.seconds, *options)
        )

    figures = {
        "ocsp": await cost(bench.paths),
        "crl": await cost(paths),
        "unmodified": await cost(paths, "-H", f'If-None-Match: "{tag}"'),
    }
    figures["memory"] = private_mib(pid)
    stop = threading.Event()
    published = bench.public / "crl" / "large.crl"
    publisher = threading.Thread(target=_replace, args=(published, base, stop))
    publisher.start()
    while not published.exists():  # noqa: ASYNC110 - what is waited for is a file
        await asyncio.sleep(0.1)
    try:
        found = await asyncio.to_thread(
            latencies_ms, base, bench.paths, bench.seconds * 2, OCSP_A_SECOND, paths.with_name("latencies")
        )
    finally:
        stop.set()
        await asyncio.to_thread(publisher.join)
    figures["p99"], figures["median"] = found[int(len(found) * 0.99)], found[len(found) // 2]
    figures["memory_large"] = private_mib(pid)
    await service.drain()
    return figures


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:
    """Measure and return the figures."""
    bench = Served(folder, min(certificates, CERTIFICATES), seconds)
    crl = make_crl(CRL_BYTES)
    (bench.public / "crl" / "citizen.crl").write_bytes(crl)
    paths = folder / "crl-path"
    paths.write_text("/crl/citizen.crl\n")
    ours = uvloop.run(_with_worker(bench, paths, hashlib.sha256(crl).hexdigest()))
    port = free_port()
    with nginx(folder / "nginx", port, crl) as pid:
        nginx_paths = folder / "file-path"
        nginx_paths.write_text("/file\n")
        base = f"http://127.0.0.1:{port}"
        nginx_us = cost_us(lambda: [pid], lambda: get_load(base, nginx_paths, seconds))
    return [
        at_most("CRL of 1 MB, CPU a request", ours["crl"], "µs", "nginx, the same file", nginx_us, 2.5),
        at_most("revalidation (304), CPU a request", ours["unmodified"], "µs", "OCSP GET", ours["ocsp"], 1.1),
        Figure("memory of the worker, 32 downloads at once", f"{ours['memory']:.0f} MiB"),
        Figure(
            "OCSP latency, 99th percentile, a CRL of 40 MB replaced each second", f"{ours['p99']:.2f} ms",
            f"median: {ours['median']:.2f} ms", None, f"< {BOUND_MS:g} ms", ours["p99"] < BOUND_MS,
        ),
        Figure("memory of the worker after it", f"{ours['memory_large']:.0f} MiB"),
    ]  # fmt: skip
