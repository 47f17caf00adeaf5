"""Presigning: from the store to the table, beside the bare signature; and what an entry takes on disk."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.figures import Figure
from benchmarks.processes import cpu_s
from benchmarks.status_table import serials
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home, HomeLock
from pkiserver.initialise import initialise
from pkiserver.progress import silent
from pkiserver.status.presigner import Presigner
from store import certificates
from store.database import Transaction
from store.records import CertificateRecord
from store.response_writer import ResponseTableWriter

ROWS_A_TRANSACTION: Final = 5_000
BARE_SIGNATURES: Final = 20_000
CERTIFICATE_BYTES: Final = 900  # of a citizen's certificate


def bare_rate() -> float:
    """Return P-256 signatures a CPU second, by nothing but the library."""
    key = ec.generate_private_key(ec.SECP256R1())
    data, algorithm = bytes(400), ec.ECDSA(hashes.SHA256())
    since = time.process_time()
    for _ in range(BARE_SIGNATURES):
        key.sign(data, algorithm)
    return BARE_SIGNATURES / (time.process_time() - since)


async def _fill_store(core: Core, count: int) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    authority = core.authorities.get("citizen").id
    numbers = serials(count)
    for start in range(0, count, ROWS_A_TRANSACTION):
        rows = [
            CertificateRecord(
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
            for number in numbers[start : start + ROWS_A_TRANSACTION]
        ]

        def add(tx: Transaction, batch: list[CertificateRecord] = rows) -> None:
            for row in batch:
                certificates.add(tx, row)

        await core.storage.write(add)


async def _measure(folder: Path, count: int) -> tuple[float, float]:
    """Return responses a CPU second, of this process and the signer together, and bytes an entry."""
    home = Home(folder / "home")
    await initialise(home, None, offline_root=False, progress=silent)
    with HomeLock(home):
        async with open_core(home, Clock()) as core:
            await _fill_store(core, count)
            table = ResponseTableWriter(folder / "table")
            presigner = Presigner(
                storage=core.storage, signer=core.signer, clock=core.clock, authorities=core.authorities,
                table=table, policies=core.settings.status_policies,
            )  # fmt: skip
            pids = core.signer.pids
            ours, theirs = time.process_time(), cpu_s(pids)
            await presigner.prepare()
            await presigner.work()
            used = time.process_time() - ours + cpu_s(pids) - theirs
            entries = table.count()
            table.close()
    size = sum(path.stat().st_blocks * 512 for path in (folder / "table").rglob("data.mdb"))
    return entries / used, size / entries


def run(folder: Path, certificates_: int, _seconds: int) -> list[Figure]:
    """Measure and return the figures; a tenth of the certificates is enough for a rate."""
    before = bare_rate()
    rate, size = uvloop.run(_measure(folder, max(certificates_ // 10, 1000)))
    bare = (before + bare_rate()) / 2
    return [
        Figure(
            "presigning, store to table, a CPU second", f"{rate:,.0f}", f"bare signatures: {bare:,.0f}",
            rate / bare, ">= 0.6", rate / bare >= 0.6,
        ),
        Figure("an entry of the table on disk", f"{size:,.0f} bytes"),
    ]  # fmt: skip
