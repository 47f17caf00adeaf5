"""A bulk suspension: what the issuing plane spends until OCSP and delta CRL tell of every certificate.

And how long OCSP answers take meanwhile, at a tenth of the load that saturates the worker that gives them.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import Figure
from benchmarks.latency import latencies_ms
from benchmarks.load import get_load
from benchmarks.processes import cpu_s
from benchmarks.status_table import path_for, serials
from pkiserver.app import Server, running_server
from pkiserver.ca.authorities import public_key_bits
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home, HomeLock
from pkiserver.initialise import initialise
from pkiserver.progress import silent
from pkiserver.ra.bulk.acts import NewAct
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.ocsp.request import issuer_parts
from store import certificates, status_events
from store.bulk_acts import ActRecord
from store.database import Transaction
from store.records import CertificateRecord

AIM: Final = 100_000
BOUND_S: Final = 25.0  # CPU seconds for so many
BOUND_MS: Final = 10.0
SHORT: Final = 10_000  # certificates, unless `--certificates` asks for fewer, or all of `AIM`
ROWS_A_TRANSACTION: Final = 5_000
CERTIFICATE_BYTES: Final = 900  # of a citizen's certificate
LOOK_S: Final = 0.2
REQUESTED: Final = 2_000
LEGAL: Final = tuple(Actor(f"legal-{number}", (Assignment(Role.LEGAL),)) for number in (1, 2))


@dataclass
class Spent:
    """CPU seconds of the issuing plane: this process and its signers."""

    pids: list[int]
    ours: float = field(default_factory=time.process_time)
    theirs: float = 0.0

    def __post_init__(self) -> None:
        self.theirs = cpu_s(self.pids)

    def seconds(self) -> float:
        """Return what was spent since."""
        return time.process_time() - self.ours + cpu_s(self.pids) - self.theirs


def _fill(tx: Transaction, authority: int, numbers: list[int]) -> None:
    now = Clock().now()
    for number in numbers:
        record = CertificateRecord(
            authority=authority,
            serial=number,
            profile="citizen-signature",
            subject=f"CN=Citizen {number}",
            spki_sha256=hashlib.sha256(b"%d" % number).digest(),
            not_before=now,
            not_after=now + timedelta(days=1825),
            state="active",
            certificate=bytes(CERTIFICATE_BYTES),
        )
        certificates.add(tx, record)
        status_events.append(
            tx,
            authority=authority,
            serial=number,
            from_state=None,
            to_state="active",
            reason=None,
            effective_at=now,
            actor="bench",
        )


async def _prepare(home: Home, numbers: list[int]) -> None:
    """Make a home with certificates, each with an OCSP response and the full CRLs before the act."""
    await initialise(home, None, offline_root=False, progress=silent)
    async with open_core(home, Clock()) as core:
        authority = core.authorities.get("citizen").id
        for start in range(0, len(numbers), ROWS_A_TRANSACTION):
            some = numbers[start : start + ROWS_A_TRANSACTION]
            await core.storage.write(lambda tx, batch=some: _fill(tx, authority, batch))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults


@asynccontextmanager
async def _served(home: Home) -> AsyncIterator[Server]:
    listen = {"http": ["127.0.0.1:0"], "https": ["127.0.0.1:0"], "metrics": ["127.0.0.1:0"]}
    with HomeLock(home):
        async with running_server(home, Clock(), listen) as server:
            await server.presigner.presign(everything=False, authority=None, progress=silent)
            yield server


async def _suspend(server: Server) -> tuple[float, float]:
    """Suspend every citizen's certificate; return CPU and wall seconds until all is told."""
    core, acts = server.core, server.core.registration.bulk_acts
    issuer = core.authorities.get("citizen")
    spent, since = Spent(core.signer.pids), time.monotonic()
    new = NewAct(Kind.SUSPEND, "key_compromised", Selection(issuer=(issuer.id,)))
    proposed = await acts.propose(LEGAL[0], new)
    await acts.confirm(LEGAL[1], proposed.id, proposed.version)
    async for act in _looks(server, proposed.id):
        last = await core.storage.read(status_events.head)
        if act.state == "done" and _is_told(server, issuer.id, last):
            break
    if act.changed != act.certificates:
        raise RuntimeError(f"{act.passed_over} certificates were passed over")
    return spent.seconds(), time.monotonic() - since


async def _looks(server: Server, act: int) -> AsyncIterator[ActRecord]:
    """Yield an act as it is, a few times a second."""
    while True:
        await asyncio.sleep(LOOK_S)
        yield await server.core.registration.bulk_acts.show(LEGAL[0], act)


def _is_told(server: Server, authority: int, last: int) -> bool:
    """Return whether OCSP and a CRL, full or delta, show this event of an authority."""
    shown = [
        record.events_to
        for _, record in server.core.crl_publisher.published()
        if record.authority == authority
    ]
    return server.presigner.position >= last and max(shown, default=0) >= last


def _paths(core: Core, folder: Path, numbers: list[int]) -> Path:
    """Write the paths of OCSP requests for some certificates, as `h2load` reads them."""
    certificate = core.authorities.get("citizen").certificate
    parts = issuer_parts(certificate.subject.public_bytes(), public_key_bits(certificate))
    paths = folder / "paths"
    paths.write_text("".join(f"{path_for(parts, number)}\n" for number in numbers[:REQUESTED]))
    return paths


async def _measure(folder: Path, count: int, seconds: int) -> tuple[float, float, float, int]:
    """Return CPU and wall seconds, the 99th percentile in milliseconds, and the requests a second."""
    home, numbers = Home(folder / "home"), serials(count)
    await _prepare(home, numbers)
    async with _served(home) as server:
        host, port = server.workers.address
        base, paths = f"http://{host}:{port}", _paths(server.core, folder, numbers)
        workers = server.workers.pids
        saturating = await asyncio.to_thread(get_load, base, paths, seconds) / seconds
        rate = saturating / 10
        log, long_s = folder / "latencies", max(seconds, round(count / AIM * BOUND_S))
        asked = asyncio.create_task(asyncio.to_thread(latencies_ms, base, paths, long_s, rate, log))
        cpu, wall = await _suspend(server)
        found = await asked
        if server.workers.pids != workers:
            raise RuntimeError("an OCSP worker was replaced")
    return cpu, wall, found[int(len(found) * 0.99)], int(rate)


def run(folder: Path, certificates_: int, seconds: int) -> list[Figure]:
    """Measure and return the figures; for fewer than `AIM` certificates, what as many would take."""
    count = AIM if certificates_ == AIM else min(certificates_, SHORT)
    cpu, wall, p99, rate = uvloop.run(_measure(folder, count, seconds))
    each_us = cpu / count * 1e6
    whole_s = each_us * AIM / 1e6
    return [
        Figure(
            f"bulk suspension of {AIM:,}, CPU until OCSP and CRLs tell of all", f"{whole_s:.1f} s",
            f"{each_us:.0f} µs a certificate, by {count:,} in {wall:.1f} s", None,
            f"<= {BOUND_S:g} s", whole_s <= BOUND_S,
        ),
        Figure(
            f"OCSP latency meanwhile, 99th percentile, {rate:,} requests a second", f"{p99:.2f} ms", "", None,
            f"< {BOUND_MS:g} ms", p99 < BOUND_MS,
        ),
    ]  # fmt: skip
