"""What a CRL costs to serve: beside nginx on the same file, and its revalidation beside an OCSP answer."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.figures import Figure, at_most
from benchmarks.load import get_load
from benchmarks.ocsp import Served, cost_us, free_port
from benchmarks.processes import SERVER_CPU, pin, private_mib
from benchmarks.yardsticks import nginx
from pkiserver.web.workers import StatusWorkers
from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list, revoked_entry

CRL_BYTES: Final = 1_000_000
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
    ]
