"""Signs OCSP responses beforehand and keeps the table of them: follows status events, refreshes in a cycle.

A certificate's place in the cycle follows from its serial (random, so evenly spread): each slot of the
cycle is a range of serials, and SQL keeps no row per response. One task does both kinds of work one
after the other, so that a refresh never overwrites the answer to a later event.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiserver.ca.authorities import Authorities, Authority, Responder
from pkiserver.ca.issuance import SERIAL_BITS
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.client import Signer
from pkiserver.storage import Storage
from protocols.asn1.der import integer_content
from protocols.asn1.ocsp import CertStatus, CRLReason, Good, RevokedInfo
from protocols.ocsp.request import issuer_parts
from protocols.ocsp.response import ResponseTemplate
from protocols.x509.certificate import subject_public_key_bits
from store import certificates, facts, status_events
from store.database import Transaction
from store.errors import StorageError
from store.records import CertificateRecord, StatusEventRecord, to_unix
from store.responses import ResponderParts, ResponseEntry, ResponseTableWriter, response_key

SLOTS: Final = 1440  # of the refresh cycle: at 12 hours one every 30 seconds
BATCH: Final = 256  # responses signed in one go; an event waits for one batch at most
POLL_S: Final = 1.0  # looks for due work at least this often
_SLOT_FACT: Final = "presigner-slot"
_log = structlog.get_logger("pkiserver.presigner")


@dataclass(frozen=True, slots=True)
class _Status:
    """What one response is to say."""

    certificate: CertificateRecord
    status: CertStatus


class Presigner:
    """The one writer of the response table."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        table: ResponseTableWriter,
        validity: timedelta,
        refresh: timedelta,
    ) -> None:
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._authorities = authorities
        self._table = table
        self._validity = validity
        self._slot_s = refresh.total_seconds() / SLOTS
        self._refresh_s = refresh.total_seconds()
        self._wake = asyncio.Event()
        self._templates: dict[int, ResponseTemplate] = {}
        self._slot = 0  # the last slot, counted from the epoch, whose responses were signed anew
        self._prepared = False
        self.position = 0  # the last event that the table shows
        self.failure: str | None = None

    def notify(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    def oldest_response_age_s(self) -> float:
        """Return the age of the oldest response, by the cycle; the refresh period where all is well."""
        return max(self._clock.now().timestamp() - self._slot * self._slot_s, 0) + self._refresh_s

    async def prepare(self) -> None:
        """Tell the table of issuers and responders and find where the work stopped."""
        self.introduce()
        self.position = self._table.position()
        head = await self._storage.read(status_events.head)
        slot = await self._storage.read(lambda tx: facts.get(tx, _SLOT_FACT))
        self._slot = int(slot or 0)
        if self.position > head or (self.position == 0 and head > 0):
            await self._start_anew(head)
        self._prepared = True

    async def run(self) -> None:
        """Work until cancelled; what cannot be done now is tried again a second later."""
        while True:
            self._wake.clear()
            if not await self.attempt():
                await asyncio.sleep(POLL_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            except TimeoutError:
                continue

    async def attempt(self) -> bool:
        """Do the work that is due; False when it cannot be done now, and `failure` says why."""
        try:
            if not self._prepared:
                await self.prepare()
            await self.work()
        except (PKIServerError, StorageError) as error:
            if self.failure is None:
                _log.error("presigner-stopped", reason=str(error))
            self.failure = str(error)
            return False
        if self.failure is not None:
            _log.info("presigner-resumed")
            self.failure = None
        return True

    async def work(self) -> None:
        """Bring the table up to the newest event, then sign what is due in the cycle."""
        await self._follow()
        await self._refresh()

    def introduce(self) -> None:
        """Take authorities and responders as they are now, and tell the table of them."""
        for authority in self._authorities:
            responder = self._authorities.responder(authority.id)
            if responder is not None:
                self._introduce(authority, responder)

    def _introduce(self, authority: Authority, responder: Responder) -> None:
        name = authority.certificate.subject.public_bytes()
        issuer_bits = _key_bits(authority.certificate)
        responder_der = responder.certificate.public_bytes(Encoding.DER)
        key_hash = hashlib.sha1(_key_bits(responder.certificate), usedforsecurity=False).digest()
        algorithm = signature_algorithm_for(responder.certificate.public_key()).der
        self._templates[authority.id] = ResponseTemplate(key_hash, name, issuer_bits)
        self._table.put_responder(ResponderParts(responder.id, algorithm, responder_der))
        for part in issuer_parts(name, issuer_bits):
            self._table.put_issuer(part, authority.id)

    async def _start_anew(self, head: int) -> None:
        """Fill the table from the store: it is new, or of another state of the store (a backup)."""
        tell = _log.warning if self._table.count() else _log.info
        tell("response-table-filled-anew", table_position=self.position, store_head=head)
        for authority in self._authorities:
            self._table.delete(list(self._table.keys(authority.id)), position=0)
        self.position = head
        await self._sign_range(0, 1 << SERIAL_BITS)
        self._table.put([], position=head)

    async def _follow(self) -> None:
        while events := await self._storage.read(lambda tx: status_events.after(tx, self.position, BATCH)):
            await self._sign(await self._statuses_of(events), position=events[-1].sequence)
            self.position = events[-1].sequence

    async def _refresh(self) -> None:
        current = int(self._clock.now().timestamp() / self._slot_s)
        if current <= self._slot:
            return
        for low, high in slot_ranges(self._slot + 1, current):
            await self._sign_range(low, high)
        self._slot = current
        await self._storage.write(lambda tx: facts.put(tx, _SLOT_FACT, str(current)))

    async def _sign_range(self, low: int, high: int) -> None:
        for authority_id in list(self._templates):
            start = low
            while statuses := await self._statuses_in(authority_id, start, high):
                await self._sign(statuses, position=None)
                start = statuses[-1].certificate.serial + 1
                await self._follow()

    async def _statuses_in(self, authority: int, low: int, high: int) -> list[_Status]:
        def read(tx: Transaction) -> list[_Status]:
            found = certificates.in_serial_range(tx, authority, low, high, BATCH)
            return [_Status(certificate, _cert_status(tx, certificate)) for certificate in found]

        return await self._storage.read(read)

    async def _statuses_of(self, events: Sequence[StatusEventRecord]) -> list[_Status]:
        named = {(event.authority, event.serial) for event in events}

        def read(tx: Transaction) -> list[_Status]:
            found = (certificates.get(tx, *name) for name in named)
            return [_Status(record, _cert_status(tx, record)) for record in found if record]

        return await self._storage.read(read)

    async def _sign(self, statuses: Iterable[_Status], *, position: int | None) -> None:
        """Sign a batch and put it into the table in one transaction, with the position it brings."""
        by_authority: dict[int, list[_Status]] = defaultdict(list)
        for status in statuses:
            by_authority[status.certificate.authority].append(status)
        entries: list[tuple[bytes, ResponseEntry]] = []
        for authority, batch in by_authority.items():
            responder = self._authorities.responder(authority)
            if responder is not None:  # an authority whose key is outside has none
                entries += await self._entries(responder, self._templates[authority], batch)
        await asyncio.to_thread(self._table.put, entries, position=position)

    async def _entries(
        self, responder: Responder, template: ResponseTemplate, batch: Sequence[_Status]
    ) -> list[tuple[bytes, ResponseEntry]]:
        now, next_update = self._times(responder.certificate)
        data = [
            template.response_data(item.certificate.serial, item.status, now, now, next_update)
            for item in batch
        ]
        signatures = await self._signer.sign_many(responder.key_label, data)
        this_unix, next_unix = to_unix(now), to_unix(next_update)
        return [
            (
                response_key(responder.authority, integer_content(item.certificate.serial)),
                ResponseEntry(responder.id, this_unix, next_unix, response_data, signature),
            )
            for item, response_data, signature in zip(batch, data, signatures, strict=True)
        ]

    def _times(self, responder: x509.Certificate) -> tuple[datetime, datetime]:
        """Return thisUpdate and nextUpdate; a response does not outlive its signer's certificate."""
        now = self._clock.now()
        return now, min(now + self._validity, responder.not_valid_after_utc)


def slot_ranges(first: int, last: int) -> list[tuple[int, int]]:
    """Return the ranges of serials (low, high exclusive) of these slots, which count from the epoch."""
    if last - first + 1 >= SLOTS:
        return [(0, 1 << SERIAL_BITS)]
    low, high = first % SLOTS, last % SLOTS
    if low <= high:
        return [(_slot_start(low), _slot_start(high + 1))]
    return [(_slot_start(low), 1 << SERIAL_BITS), (0, _slot_start(high + 1))]


def _key_bits(certificate: x509.Certificate) -> bytes:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return subject_public_key_bits(spki)


def _slot_start(slot: int) -> int:
    return (slot << SERIAL_BITS) // SLOTS


def _cert_status(tx: Transaction, certificate: CertificateRecord) -> CertStatus:
    revocation = status_events.revocation(tx, certificate.authority, certificate.serial)
    if revocation is None:
        return Good()
    return RevokedInfo(revocation.revoked_at, CRLReason(revocation.reason))
