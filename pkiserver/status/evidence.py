"""What the status of a certificate was, and the evidence of it as files: events, audit proof, CRLs, OCSP.

The files are given piece by piece to whoever asks, who writes them; how an auditor checks them is told in the
README among them (`evidence_text`), and done by `evidence_check`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkiserver.audit import Head
from pkiserver.audit_proof import LinksWriter, records_text
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.progress import GiveFile, Progress
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.status.bulk_proof import batch_file, batch_of
from pkiserver.status.evidence_crls import crl_content, crls_in_force
from pkiserver.status.evidence_files import EvidenceFiles
from pkiserver.status.evidence_text import readme
from pkiserver.status.history import StatusAt, status_at
from pkiserver.status.register import reason_name
from pkiserver.status.served_responses import ServedResponses
from pkiserver.storage import Storage
from protocols.asn1.der import integer_content
from protocols.ocsp.response import encode_response
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import authorities as authority_rows
from store import bulk_status, ocsp_archive, status_events, status_history
from store.database import Transaction
from store.records import AuditRecord, CertificateRecord, HoldSpanRecord, StatusEventRecord, to_unix
from store.response_entries import ResponseEntry, response_key

LINKS_A_PAGE: Final = 2_000
NO_RESPONSE: Final = (
    "no OCSP response of that time is kept: those from around changes of status are, and the one served now;"
    " the CRL is the evidence"
)


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to a certificate, and what it was at the moment asked for."""

    certificate: CertificateRecord
    moment: datetime
    events: tuple[StatusEventRecord, ...]
    holds: tuple[HoldSpanRecord, ...]
    then: StatusAt


class Evidence:
    """Answers what a status was, from the store, and collects what proves it."""

    def __init__(self, storage: Storage, authorities: Authorities, served: ServedResponses) -> None:
        self._storage = storage
        self._authorities = authorities
        self._served = served

    async def history(self, certificate: CertificateRecord, moment: datetime) -> History:
        """Return the status at a moment that is not in the future."""
        named = (certificate.authority, certificate.serial)

        def read(tx: Transaction) -> tuple[list[StatusEventRecord], list[HoldSpanRecord]]:
            return status_events.of_certificate(tx, *named), status_history.holds(tx, *named)

        events, holds = await self._storage.read(read)
        then = status_at(events, holds, certificate.not_after, moment)
        return History(certificate, moment, tuple(events), tuple(holds), then)

    def answer(self, history: History) -> dict[str, Any]:
        """Return what is told of a history, as JSON values."""
        then = history.then
        return {
            "ca": self._authorities.record_with_id(history.certificate.authority).handle,
            "serial": serial_text(history.certificate.serial),
            "time": utc_text(history.moment),
            "status": then.state.value,
            "revoked_at": utc_text(then.revoked_at) if then.revoked_at is not None else None,
            "reason": reason_name(then.reason),
            "since": utc_text(then.event.effective_at) if then.event is not None else None,
            "sequence": then.event.sequence if then.event is not None else None,
            "holds": ", ".join(hold.holder for hold in then.holds) or None,
            "not_before": utc_text(history.certificate.not_before),
            "not_after": utc_text(history.certificate.not_after),
        }

    async def collect(
        self, history: History, head: Head | None, progress: Progress, give_file: GiveFile
    ) -> dict[str, Any]:
        """Give the files of the evidence; return the answer, with what was found of OCSP.

        With a `head` that was kept elsewhere the audit proof leads there, else to the present one. Raises
        `ConflictError` where that head is of before the last event, or the audit log was altered.
        """
        files = EvidenceFiles(give_file)
        named = (history.certificate.authority, history.certificate.serial)
        events = [event_json(event) for event in history.events]
        await files.give("events.json", _json(events))
        await self._give_certificates(files, history.certificate)
        await self._give_proof(files, history.events, head, progress)
        crls = await crls_in_force(self._storage, history.certificate, history.moment)
        for crl in crls:
            progress(f"CRL {crl.record.number}")
            await files.begin(crl.file, b"")
            async for piece in crl_content(self._storage, crl):
                await files.more(piece)
            files.end()
        response = await self._response(*named, history.moment)
        if response is not None:
            await files.give("ocsp-response.der", response)
        answer = self.answer(history) | {
            "ocsp": _ocsp_text(response) or NO_RESPONSE,
            "crls": [crl.to_json() for crl in crls],
        }
        await files.give("status.json", _json(answer))
        await files.give("README.txt", readme(answer, files.names).encode())
        await files.give("SHA256SUMS", files.sums())
        return answer

    async def _give_certificates(self, files: EvidenceFiles, certificate: CertificateRecord) -> None:
        issuer = self._authorities.with_id(certificate.authority)
        parsed = x509.load_der_x509_certificate(certificate.certificate)
        await files.give("certificate.pem", parsed.public_bytes(Encoding.PEM))
        await files.give("issuer.pem", issuer.certificate.public_bytes(Encoding.PEM))
        chain = self._authorities.chain_of(issuer)
        await files.give("chain.pem", b"".join(one.certificate.public_bytes(Encoding.PEM) for one in chain))

    async def _give_proof(
        self,
        files: EvidenceFiles,
        events: Sequence[StatusEventRecord],
        head: Head | None,
        progress: Progress,
    ) -> None:
        records = await self._records(events)
        await files.give("audit-records.jsonl", records_text(records).encode("ascii"))
        await self._give_batches(files, records)
        end = (
            head.sequence
            if head is not None
            else Head.of(await self._storage.read(audit_chain.head)).sequence
        )
        first, last = records[0].sequence, records[-1].sequence
        if end < last:
            raise ConflictError(f"the given head is of before audit record {last}: give a later one")
        before = await self._storage.read(lambda tx: audit_chain.get(tx, first - 1))
        links = LinksWriter(Head.of(before))
        await files.begin("audit-links.txt", links.begin())
        while links.head.sequence < end:
            done = links.head.sequence
            limit = min(LINKS_A_PAGE, end - done)
            page = await self._storage.read(lambda tx, at=done, most=limit: audit_chain.after(tx, at, most))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            if not page:
                raise ConflictError("the audit log ends before the given head: its tail was cut")
            await files.more(links.lines(page))
            progress("audit records", links.head.sequence - first + 1, end - first + 1)
        if head is not None and links.head != head:
            raise ConflictError(f"audit record {head.sequence} is not the one of the given head")
        await files.more(links.end())
        files.end()

    async def _give_batches(self, files: EvidenceFiles, records: Sequence[AuditRecord]) -> None:
        """Give the events of each batch of a bulk act whose record is one of these: it has their digest."""
        for record in records:
            if (batch := batch_of(record.action, record.detail)) is not None:
                read = partial(bulk_status.lines_of, first=batch.first, count=batch.count)
                lines = await self._storage.read(read)
                await files.give(batch_file(record.sequence), "".join(lines).encode("ascii"))

    async def _records(self, events: Sequence[StatusEventRecord]) -> list[AuditRecord]:
        sequences = [event.sequence for event in events]
        found = await self._storage.read(lambda tx: status_history.audit_records(tx, sequences))
        missing = [sequence for sequence in sequences if sequence not in found]
        if missing or not found:
            raise ConflictError(f"the audit records of the status events {missing} are not there")
        return sorted(found.values(), key=lambda record: record.sequence)

    async def _response(self, authority: int, serial: int, moment: datetime) -> bytes | None:
        """Return the OCSP response in force then that is still known, in DER."""
        entry = self._served.get(response_key(authority, integer_content(serial)))
        if entry is None or not entry.this_update <= to_unix(moment) < entry.next_update:
            kept = await self._storage.read(lambda tx: ocsp_archive.at(tx, authority, serial, moment))
            entry = ResponseEntry.unpack(kept.entry) if kept is not None else None
        if entry is None:
            return None
        responders = await self._storage.read(authority_rows.all_responders)
        der = next((one.certificate for one in responders if one.id == entry.responder), None)
        if der is None:
            raise NotFoundError(f"the certificate of responder {entry.responder} is not on record")
        algorithm = signature_algorithm_for(x509.load_der_x509_certificate(der).public_key()).der
        return encode_response(entry.response_data, entry.signature, algorithm, der)


def event_json(event: StatusEventRecord) -> dict[str, Any]:
    """Return a status event as the evidence shows it."""
    return {
        "sequence": event.sequence,
        "authority": event.authority,
        "serial": serial_text(event.serial),
        "from": event.from_state,
        "to": event.to_state,
        "reason": reason_name(event.reason),
        "at": utc_text(event.effective_at),
    }


def _ocsp_text(response: bytes | None) -> str | None:
    """Return what a response says, and of when it is."""
    if response is None:
        return None
    one = next(iter(ocsp.load_der_ocsp_response(response).responses))
    end = f" to {utc_text(one.next_update_utc)}" if one.next_update_utc is not None else ""
    return f"{one.certificate_status.name.lower()}, in force from {utc_text(one.this_update_utc)}{end}"


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode("ascii") + b"\n"
