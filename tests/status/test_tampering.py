"""Tampering with any single record that the audit chain, CRLs or OCSP guard: which check detects it.

Who tampers writes to the database file itself, past the triggers, and holds no key.
"""
# ruff: noqa: S608 - what is put into statements is of the tables below

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from status_plane import StatusPlane, status_plane, verify

from pkiserver.core import Core
from pkiserver.errors import PKIServerError
from pkiserver.evidence_check import check_evidence
from pkiserver.progress import silent
from pkiserver.status.crl_builder import rebuilt
from protocols.errors import ProtocolError
from store import crls
from store.database import Transaction
from store.records import CertificateRecord
from tests.conftest import FakeClock

if TYPE_CHECKING:
    from tests.conftest import Issue

NAME = "infrastructure"


class Guarded:
    """A certificate that was suspended, restored and revoked, with all that tells of it."""

    def __init__(self, plane: StatusPlane, record: CertificateRecord, clock: FakeClock, folder: Path) -> None:
        self.core, self.plane, self.record, self.clock, self.folder = plane.core, plane, record, clock, folder
        self.checks = 0

    async def happen(self) -> None:
        await self.publish()
        for command, more in (
            ("certificate.suspend", {"by": "holder"}),
            ("certificate.restore", {"by": "holder"}),
            ("certificate.revoke", {"reason": "keyCompromise"}),
        ):
            self.clock.advance(timedelta(minutes=10))
            await self.run(command, serial=f"{self.record.serial:x}", ca=None, **more)
            await self.publish()
        await self.run("audit.sign_head")
        self.clock.advance(timedelta(minutes=10))

    async def publish(self) -> None:
        await self.plane.presigner.work()
        await self.core.crl_publisher.publish(NAME, "test")

    async def run(self, command: str, **given: Any) -> Any:
        return await self.core.commands.run(command, given, "user:auditor", silent)

    async def audit_verify(self) -> None:
        """`pkiserver audit verify`: the chain of hashes, and the signed heads that are kept."""
        await self.run("audit.verify", head=None)

    async def evidence(self) -> None:
        """`pkiserver status at --evidence` and `evidence check`: events against their audit records."""
        self.checks += 1
        folder = self.folder / f"evidence-{self.checks}"
        folder.mkdir()

        async def take(name: str, piece: bytes) -> None:
            with (folder / name).open("ab") as file:
                file.write(piece)

        moment = (self.clock.now() - timedelta(minutes=25)).isoformat()  # while it was suspended
        given = {"serial": f"{self.record.serial:x}", "ca": None, "time": moment, "head": None}
        await self.core.commands.run("status.evidence", given, "user:auditor", silent, take)
        check_evidence(folder, None)
        answer = ocsp.load_der_ocsp_response((folder / "ocsp-response.der").read_bytes())
        verify(self.core, answer)
        (*told,) = answer.responses
        assert {one.serial_number for one in told} == {self.record.serial}
        assert {one.certificate_status for one in told} == {ocsp.OCSPCertStatus.REVOKED}

    async def crl_made_again(self) -> None:
        """Every CRL that was published, made again from its records, has its issuer's signature."""
        issuer = self.core.authorities.get(NAME)
        last = await self.core.storage.read(lambda tx: crls.latest(tx, issuer.id, 0, crls.FULL))
        assert last is not None
        key: Any = issuer.certificate.public_key()
        for number in range(1, last.number + 1):
            record = await self.core.storage.read(
                lambda tx, one=number: crls.get(tx, issuer.id, 0, crls.FULL, one)  # type: ignore[misc]
            )
            if record is None:
                continue
            crl = x509.load_der_x509_crl(b"".join(await rebuilt(self.core.storage, record)))
            assert crl.is_signature_valid(key)
            number_told = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            assert (number_told, crl.last_update_utc) == (record.number, record.this_update)

    @property
    def of_certificate(self) -> str:
        return f"authority = {self.record.authority} AND serial = x'{self.record.serial:032x}'"


@pytest.fixture
async def guarded(core: Core, issue: "Issue", clock: FakeClock, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with status_plane(core) as plane:
        core.served_responses.attach(plane.table.get)
        await plane.presigner.prepare()
        made = Guarded(plane, await issue(core), clock, tmp_path)
        await made.happen()
        yield made


Check = Callable[[Guarded], Awaitable[None]]
CHAIN, EVIDENCE, CRL = Guarded.audit_verify, Guarded.evidence, Guarded.crl_made_again
LAST_AUDIT = "sequence = (SELECT max(sequence) FROM audit WHERE action = 'certificate.revoke')"
SUSPENSION = "OF AND to_state = 'suspended'"
LAST_CRL = "kind = 'full' AND scope = 0 AND entries > 0"
# Table and column, which rows, what is put there instead (SQL), and which check detects it.
TAMPERED: list[tuple[str, str, str, Check]] = [
    ("audit.sequence", LAST_AUDIT, "sequence + 100000", CHAIN),
    ("audit.at", LAST_AUDIT, "at + 1", CHAIN),
    ("audit.actor", LAST_AUDIT, "'somebody'", CHAIN),
    ("audit.action", LAST_AUDIT, "'something'", CHAIN),
    ("audit.outcome", LAST_AUDIT, "'refused'", CHAIN),
    ("audit.detail", LAST_AUDIT, "'{}'", CHAIN),
    ("audit.personal", LAST_AUDIT, "'{}'", CHAIN),
    ("audit.personal_salt", LAST_AUDIT, "x'00'", CHAIN),
    ("audit.personal_hash", LAST_AUDIT, "x'00'", CHAIN),
    ("audit.hash", LAST_AUDIT, "zeroblob(32)", CHAIN),
    ("audit_heads.id", "id = (SELECT max(id) FROM audit_heads)", "id + 1", CHAIN),
    ("audit_heads.sequence", "id = 1", "sequence - 1", CHAIN),
    ("audit_heads.at", "id = 1", "at - 1", CHAIN),
    ("audit_heads.cms", "id = 1", "zeroblob(length(cms))", CHAIN),
    ("audit_heads.cms", "id = 1", "'text'", CHAIN),  # SQLite takes any value in any column
    ("facts.value", "name = 'installation'", "'another'", CHAIN),
    ("status_events.sequence", SUSPENSION, "sequence + 100000", EVIDENCE),
    ("status_events.authority", SUSPENSION, "authority - 1", EVIDENCE),
    ("status_events.serial", SUSPENSION, "zeroblob(16)", EVIDENCE),
    ("status_events.from_state", SUSPENSION, "'revoked'", EVIDENCE),
    ("status_events.to_state", SUSPENSION, "'active'", EVIDENCE),
    ("status_events.reason", SUSPENSION, "1", EVIDENCE),
    ("status_events.effective_at", SUSPENSION, "effective_at - 60", EVIDENCE),
    ("status_events.audit", SUSPENSION, "audit - 1", EVIDENCE),
    ("holds.holder", "closed_at IS NOT NULL", "'authority'", EVIDENCE),
    ("holds.opened_at", "closed_at IS NOT NULL", "opened_at + 600", EVIDENCE),
    ("holds.closed_at", "closed_at IS NOT NULL", "closed_at - 540", EVIDENCE),
    ("certificates.certificate", "OF", "x'3000'", EVIDENCE),
    ("certificates.not_after", "OF", "not_after + 86400", EVIDENCE),
    ("ocsp_archive.entry", "OF", "zeroblob(length(entry))", EVIDENCE),
    ("crl_entries.entry", "OF", "zeroblob(length(entry))", CRL),
    ("crl_entries.since", "OF AND until IS NULL", "since + 1", CRL),
    ("crl_entries.until", "OF AND until IS NOT NULL", "until + 1", CRL),
    ("crls.number", LAST_CRL, "number + 100", CRL),
    ("crls.this_update", LAST_CRL, "this_update - 60", CRL),
    ("crls.events_to", LAST_CRL, "0", CRL),
    ("crls.head", LAST_CRL, "zeroblob(length(head))", CRL),
    ("crls.tail", LAST_CRL, "zeroblob(length(tail))", CRL),
    ("crls.signature", LAST_CRL, "zeroblob(length(signature))", CRL),
]


async def test_every_change_of_a_guarded_record_is_detected(guarded: Guarded) -> None:
    for check in (CHAIN, EVIDENCE, CRL):
        await check(guarded)  # untouched, all is well
    missed = []
    for place, rows, value, check in TAMPERED:
        table, _, column = place.partition(".")
        where = rows.replace("OF", guarded.of_certificate)
        if not await tampering(guarded, table, f"UPDATE {table} SET {column} = {value} WHERE {where}", check):
            missed.append(place)
    assert missed == []


@pytest.mark.parametrize(
    ("table", "rows", "check"),
    [
        ("audit", LAST_AUDIT, CHAIN),
        ("audit_heads", "id = 1", CHAIN),
        ("status_events", SUSPENSION, EVIDENCE),
        ("crl_entries", "OF AND until IS NULL", CRL),
        ("certificates", "OF", EVIDENCE),
    ],
    ids=["audit", "audit_heads", "status_events", "crl_entries", "certificates"],
)
async def test_a_record_that_was_taken_out_is_detected(
    guarded: Guarded, table: str, rows: str, check: Check
) -> None:
    await guarded.run("audit.sign_head")  # so that a head follows the one that is taken out
    where = rows.replace("OF", guarded.of_certificate)
    assert await tampering(guarded, table, f"DELETE FROM {table} WHERE {where}", check)


async def tampering(guarded: Guarded, table: str, statement: str, check: Check) -> bool:
    """Tamper past the triggers, return whether the check says so, and put the table back as it was."""
    changed: list[int] = []

    def tamper(tx: Transaction) -> None:
        for (name,) in tx.all("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            tx.execute(f"DROP TRIGGER {name}")
        tx.execute(f"CREATE TABLE kept AS SELECT * FROM {table}")
        changed.append(tx.execute(statement))

    def put_back(tx: Transaction) -> None:
        tx.execute(f"DELETE FROM {table}")
        tx.execute(f"INSERT INTO {table} SELECT * FROM kept")
        tx.execute("DROP TABLE kept")

    await guarded.core.storage.write(tamper)
    try:
        await check(guarded)
    except (PKIServerError, ProtocolError, AssertionError, ValueError):
        detected = True
    else:
        detected = False
    await guarded.core.storage.write(put_back)
    assert changed[0] >= 1, statement
    return detected
