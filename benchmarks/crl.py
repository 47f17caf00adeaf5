"""CRLs: a full one from the store to its file, beside cryptography's builder; the delta of one revocation."""

import asyncio
import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography import x509
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
from pkiserver.ra.lifecycle import Action, Command
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.status import crl_files
from pkiserver.status.crl_builder import read_entries
from pkiserver.status.crl_release import CRLReleases
from pkiserver.status.crl_scopes import CRLPolicy, CRLScope, Issuer, Published, plan_full
from protocols.crl import revoked_entry
from store import certificates, crl_entries, crls
from store.database import Transaction
from store.records import CertificateRecord, CRLEntryRecord

ROWS_A_TRANSACTION: Final = 5_000
BUILDER_S: Final = 60.0
ONE_MORE: Final = 7  # the serial that is revoked among the others
_HOUR: Final = timedelta(hours=1)
_KEY_COMPROMISE: Final = 1


async def _fill(home: Home, count: int) -> None:
    """Make a home of which `citizen` has revoked so many certificates, in no order of their serials."""
    await initialise(home, None, offline_root=False, progress=silent)
    text = home.configuration.read_text()
    home.configuration.write_text(text.replace('crl_delta_period = "0s"', 'crl_delta_period = "1h"'))
    now = datetime.now(UTC).replace(microsecond=0)
    events = list(range(1_000, 1_000 + count))
    random.Random(3).shuffle(events)
    rows = list(zip(sorted(serials(count)), events, strict=True))
    with HomeLock(home):
        async with open_core(home, Clock()) as core:
            authority = core.authorities.get("citizen").id
            for start in range(0, count, ROWS_A_TRANSACTION):
                batch = rows[start : start + ROWS_A_TRANSACTION]
                await core.storage.write(lambda tx, some=batch: _revoke(tx, authority, some, now))  # type: ignore[misc]
            await core.storage.write(lambda tx: _end_of_history(tx, authority, 1_000 + count, now))


def _revoke(tx: Transaction, authority: int, rows: list[tuple[int, int]], now: datetime) -> None:
    end = now + timedelta(days=1000)
    for serial, since in rows:
        entry = revoked_entry(serial, now, _KEY_COMPROMISE)
        crl_entries.begin(
            tx, CRLEntryRecord(authority, serial, since, None, 0, now, _KEY_COMPROMISE, end, entry)
        )


def _end_of_history(tx: Transaction, authority: int, event: int, now: datetime) -> None:
    tx.execute(
        "INSERT INTO status_events (sequence, authority, serial, to_state, effective_at, actor)"
        " VALUES (?, ?, ?, 'active', 0, 'benchmark')",
        (event, authority, bytes(16)),
    )
    end = now + timedelta(days=1000)
    certificates.add(
        tx,
        CertificateRecord(
            authority, ONE_MORE, "citizen-signature", "CN=One", bytes(32), now, end, "active", b""
        ),
    )


async def _nobody(_sequence: int) -> None:
    """Listen to no event."""


class _Used:
    """CPU seconds of this process and the signer since it was made."""

    def __init__(self, core: Core) -> None:
        self._pids = core.signer.pids
        self._since = self._now()

    def _now(self) -> float:
        return time.process_time() + cpu_s(self._pids)

    def lap(self) -> float:
        """Return what was used since the last lap."""
        since, self._since = self._since, self._now()
        return self._since - since


async def _full(core: Core, folder: Path) -> dict[str, float]:
    """Make a full CRL step by step, as the publisher does."""
    authority = core.authorities.get("citizen")
    scope = CRLScope(authority.id, "citizen", "http://127.0.0.1/crl/citizen.crl")
    head = await core.storage.read(lambda tx: tx.one("SELECT max(sequence) FROM status_events"))
    former = await core.storage.read(lambda tx: crls.latest(tx, authority.id, 0, crls.FULL))
    issuer = Issuer(authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc)
    plan = plan_full(
        scope, CRLPolicy(12 * _HOUR, 12 * _HOUR), issuer, Published(former),
        events_to=head[0] if head else 0, now=core.clock.now(),
    )  # fmt: skip
    used = _Used(core)
    entries = await read_entries(core.storage, plan, 0)
    assert entries is not None
    read_s = used.lap()
    released = await CRLReleases(core.storage, core.signer, core.clock).release(
        plan, entries, authority, previous=former, together=None, actor="benchmark"
    )
    build_s = used.lap()
    path = folder / "citizen.crl"
    await asyncio.to_thread(crl_files.write_crl, path, released.pieces)
    write_s = used.lap()
    await asyncio.to_thread(crl_files.compress_crl, path)
    gzip_s = used.lap()
    return {
        "entries": released.record.entries, "octets": released.record.octets,
        "read_s": read_s, "build_s": build_s, "write_s": write_s, "gzip_s": gzip_s, "peak_mib": _peak_mib(),
    }  # fmt: skip


async def _delta(core: Core) -> dict[str, float]:
    """Revoke one certificate while the publisher runs; until its delta is where it is served."""
    publisher = core.crl_publisher
    await publisher.work()
    path = core.home.public / "crl" / "citizen.delta.crl"
    while not path.exists():
        await publisher.work()
    task = asyncio.create_task(publisher.run())
    await asyncio.sleep(2.2)
    before, used, since_s = path.stat().st_ino, _Used(core), time.monotonic()
    changes = StatusChanges(core.storage, core.clock, _nobody)
    await changes.carry_out(core.authorities.get("citizen").id, ONE_MORE, Command(Action.REVOKE), "benchmark")
    publisher.notify()
    while path.stat().st_ino == before:  # noqa: ASYNC110 - what is waited for is a file
        await asyncio.sleep(0.01)
    took_s = time.monotonic() - since_s
    cpu = used.lap()
    task.cancel()
    await asyncio.wait((task,))
    return {"delta_s": took_s, "delta_cpu_s": cpu}


def _peak_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:"))) / 1024


async def _measure(folder: Path) -> dict[str, float]:
    home = Home(folder / "home")
    with HomeLock(home):
        async with open_core(home, Clock()) as core:
            full = await _full(core, folder)
        async with open_core(home, Clock()) as core:  # whose publisher knows of that CRL
            return full | await _delta(core)


def _builder_rate() -> tuple[int, float]:
    """Return the largest size that cryptography's builder does in a minute, and its CPU seconds an entry."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Benchmark CA")])
    size, now = 5_000, datetime.now(UTC).replace(microsecond=0)
    while True:
        since = time.process_time()
        builder = x509.CertificateRevocationListBuilder(name, now, now + _HOUR)
        for serial in serials(size):
            revoked = x509.RevokedCertificateBuilder(serial, now)
            reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
            builder = builder.add_revoked_certificate(revoked.add_extension(reason, False).build())
        builder.sign(key, hashes.SHA384())
        used = time.process_time() - since
        if used * 4 > BUILDER_S:  # it is quadratic: twice the size takes four times as long
            return size, used / size
        size *= 2


def run(folder: Path, count: int, _seconds: int) -> list[Figure]:
    """Measure and return the figures."""
    uvloop.run(_fill(Home(folder / "home"), count))
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.crl", str(folder)], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(child.stdout)
    size, builder_s = _builder_rate()
    total = found["read_s"] + found["build_s"] + found["write_s"]
    each = total / found["entries"]
    return [
        Figure(
            f"CRL of {found['entries']:,.0f} entries, store to file, CPU", f"{total:.2f} s",
            f"cryptography, {size:,} entries: {builder_s * 1e6:.1f} µs each, here {each * 1e6:.2f}",
            each / builder_s, "<= 1.5 s", total <= 1.5,
        ),
        Figure("  of which build and sign", f"{found['build_s']:.2f} s", "", None, "<= 0.3 s",
               found["build_s"] <= 0.3),
        Figure("  of which reading", f"{found['read_s']:.2f} s"),
        Figure("  compressed form, afterwards", f"{found['gzip_s']:.2f} s"),
        Figure("peak memory", f"{found['peak_mib']:.0f} MiB", f"CRL: {found['octets'] / 1e6:.1f} MB", None,
               "< 200 MiB", found["peak_mib"] < 200),
        Figure("one more revocation, until its delta is out", f"{found['delta_s'] * 1000:.0f} ms", "", None,
               "< 1000 ms", found["delta_s"] < 1),
        Figure("  CPU", f"{found['delta_cpu_s'] * 1000:.0f} ms", "", None, "<= 50 ms",
               found["delta_cpu_s"] <= 0.05),
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measure(Path(sys.argv[1])))))
