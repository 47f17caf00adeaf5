"""The way of a certificate: prepare -> a single-use token -> issue, each step durable before the next.

1. prepare: key policy, TBS from the profile, lint; serial, TBS and intent stored; audited.
2. issue: marked as being signed and audited; signed; assembled and compared; certificate, status
   event and audit stored in one transaction.

`certify` does both where nothing comes between: the intent is stored as being signed at once.

A crash leaves an intent that `recover` finishes (it may have been signed) or voids (it was not), so
no certificate exists that is not on record.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca import issuance_steps
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest, key_hash
from pkiserver.ca.distribution_points import CRLAddress, DistributionPoints
from pkiserver.ca.drafts import Drafts
from pkiserver.ca.issuance_rules import refuse_reused_key, require_not_compromised, require_permitted
from pkiserver.ca.key_policy import check_key
from pkiserver.ca.serials import random_serial
from pkiserver.ca.weak_keys import WeakKeyList
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError, UnavailableError
from pkiserver.signer.algorithms import load_public_key, signature_algorithm_for, verify
from pkiserver.signer.client import Signer
from pkiserver.storage import Storage
from protocols.x509.certificate import TBSCertificate, assemble_certificate
from protocols.x509.names import subject_text
from store import certificates, issuances
from store.database import Transaction
from store.records import AuthorityRecord, CertificateRecord, IssuanceRecord

OnEvent = Callable[[int], Awaitable[None]]  # told the sequence number of a status event on disk
# Adds to the transaction that records a new certificate what else follows from it; it must not refuse.
OnRecord = Callable[[Transaction, CertificateRecord, datetime], None]


@dataclass(slots=True)
class PreparedCertificate:
    """The single-use token for one signature: what was checked, stored and may be signed now."""

    intent: IssuanceRecord
    entitled_by: tuple[CertificateRecord, ...] = ()
    _spent: bool = field(default=False, repr=False)

    def spend(self) -> IssuanceRecord:
        """Return the intent, once; `ConflictError` after that."""
        if self._spent:
            raise ConflictError("this prepared certificate was issued already")
        self._spent = True
        return self.intent


class Issuance:
    """Issues certificates; one a server. `gate` raises `UnavailableError` while issuing stands still."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        weak_keys: WeakKeyList,
        public_url: str,
        distribution_points: DistributionPoints,
        gate: Callable[[], None],
        on_record: OnRecord,
        on_event: OnEvent,
    ) -> None:
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._authorities = authorities
        self._weak_keys = weak_keys
        self._distribution_points = distribution_points
        self._gate = gate
        self._on_record = on_record
        self._on_event = on_event
        self._drafts = Drafts(authorities, public_url)
        self._under_way: set[int] = set()  # serials that `recover` leaves alone

    async def prepare(self, request: AuthorizedRequest) -> PreparedCertificate:
        """Check everything that can be checked before a signature and store the intent.

        Raises `KeyRefusedError`, `RefusedError`, `UnavailableError`, or `LintError` where our own
        profile is wrong. A refusal is audited by the caller, who knows what it was part of. Who gets the
        token issues it; one that is let go is voided at the next start.
        """
        return PreparedCertificate(await self._intend(request, "prepared"), request.entitled_by)

    async def certify(self, request: AuthorizedRequest) -> CertificateRecord:
        """Prepare a certificate and issue it at once; raises what `prepare` and `issue` do.

        The intent that is on disk before the signature says that it is being signed.
        """
        return await self._complete(await self._intend(request, "signing"))

    async def _intend(
        self, request: AuthorizedRequest, state: Literal["prepared", "signing"]
    ) -> IssuanceRecord:
        """Check a request and store the intent; its serial counts as under way, for `recover`."""
        self._gate()
        check_key(request.public_key, request.profile.keys, self._weak_keys)
        now = self._clock.now()
        serial = random_serial()
        authority = self._authorities.record(request.authority)  # once: another may become the active one
        crl = await self._distribution_points.choose(authority)
        tbs = self._drafts.tbs(request, authority, serial, crl, now)
        self._under_way.add(serial)
        try:
            return await self._reserve(request, authority, serial, crl, tbs, state, now)
        except BaseException:  # cancelled too: then the intent may be stored nevertheless
            self._under_way.discard(serial)
            raise

    async def examine(self, request: AuthorizedRequest) -> None:
        """Check what people need not decide about: a key that would be refused anyway.

        Raises `KeyRefusedError`, `UnavailableError`.
        """
        self._gate()
        check_key(request.public_key, request.profile.keys, self._weak_keys)
        digest, subject = key_hash(request.public_key), subject_text(request.identity.subject)
        await self._storage.read(lambda tx: refuse_reused_key(tx, request.profile, digest, subject))

    async def issue(self, prepared: PreparedCertificate) -> CertificateRecord:
        """Sign and record a prepared certificate; on disk, with its event, when this returns.

        Raises `UnavailableError` when it could not be signed or stored: the intent is then voided at
        once, or by `recover` later, and the credential's use is given back.
        """
        intent = prepared.spend()
        self._under_way.add(intent.serial)
        try:
            await self._mark_signing(intent, prepared.entitled_by)
        except BaseException as error:
            self._under_way.discard(intent.serial)
            if isinstance(error, NotAuthorizedError | ConflictError):
                await self._void(intent, str(error))
            raise
        return await self._complete(intent)

    async def _complete(self, intent: IssuanceRecord) -> CertificateRecord:
        """Sign and record what is marked as being signed, or void it."""
        try:
            try:
                certificate = self._assemble(intent, await self._sign(intent))
            except PKIServerError as error:
                await self._void(intent, str(error))
                raise UnavailableError("the certificate could not be signed; try again later") from error
            return await self._record(intent, certificate)
        finally:
            self._under_way.discard(intent.serial)

    async def issue_once(self, request: AuthorizedRequest) -> bytes:
        """Return the active certificate of this issuer, key and profile, issued earlier or now (DER)."""
        digest = key_hash(request.public_key)
        wanted = (self._authorities.record(request.authority).id, request.profile.name, "active")
        for found in await self._storage.read(lambda tx: certificates.with_key(tx, digest)):
            if (found.authority, found.profile, found.state) == wanted:
                return found.certificate
        return (await self.certify(request)).certificate

    async def recover(self) -> int:
        """Finish or void what a crash or a full disk left; return how many there were.

        Raises `UnavailableError` when signer or store cannot serve: what is left is taken up the next time.
        """
        busy = set(self._under_way)  # before the look: what ends during it is not left over either
        found = await self._storage.read(issuances.unfinished)
        unfinished = [intent for intent in found if intent.serial not in busy | self._under_way]
        for intent in unfinished:
            await self._finish(intent)
        return len(unfinished)

    async def _finish(self, intent: IssuanceRecord) -> None:
        if intent.state == "prepared":
            await self._void(intent, "the server stopped before it was signed")
            return
        try:
            certificate = self._assemble(intent, await self._sign(intent))
        except UnavailableError:
            raise
        except PKIServerError as error:  # it will not be better the next time, and others wait behind it
            await self._void(intent, str(error))
            return
        await self._record(intent, certificate)

    def _issuer_key(self, intent: IssuanceRecord) -> CertificatePublicKeyTypes:
        record = self._authorities.record_with_id(intent.authority)
        if record.certificate is None:
            return load_public_key(TBSCertificate.parse(intent.tbs).spki_der)
        return _public_key(record.certificate)

    async def _reserve(
        self,
        request: AuthorizedRequest,
        authority: AuthorityRecord,
        serial: int,
        crl: CRLAddress,
        tbs: bytes,
        state: Literal["prepared", "signing"],
        now: datetime,
    ) -> IssuanceRecord:
        subject = subject_text(request.identity.subject)
        spki_sha256 = key_hash(request.public_key)

        def transaction(tx: Transaction) -> IssuanceRecord:
            require_permitted(tx, request, self._authorities, authority, spki_sha256, subject, now)
            return issuance_steps.reserve(
                tx,
                request,
                authority=authority,
                serial=serial,
                subject=subject,
                spki_sha256=spki_sha256,
                crl=crl,
                tbs=tbs,
                state=state,
                now=now,
            )

        return await self._storage.write(transaction, brief=True)

    async def _mark_signing(self, intent: IssuanceRecord, entitled_by: tuple[CertificateRecord, ...]) -> None:
        now = self._clock.now()
        await self._storage.write(
            lambda tx: issuance_steps.mark_signing(tx, intent, entitled_by, now), brief=True
        )

    async def _sign(self, intent: IssuanceRecord) -> bytes:
        if hashlib.sha256(intent.tbs).digest() != intent.tbs_sha256:
            raise ConflictError("the stored TBSCertificate is not the one that was prepared")
        authority = self._authorities.record_with_id(intent.authority)
        if authority.key_label is None:
            raise ConflictError(f"the key of authority {authority.name} is kept outside")
        require_not_compromised(authority.state)  # since the intent was stored, perhaps before a crash
        return await self._signer.sign(authority.key_label, intent.tbs)

    def _assemble(self, intent: IssuanceRecord, signature: bytes) -> x509.Certificate:
        """Return the certificate, after its signature was verified and its TBS compared."""
        public_key = self._issuer_key(intent)
        verify(public_key, signature, intent.tbs)
        der = assemble_certificate(intent.tbs, signature_algorithm_for(public_key).der, signature)
        certificate = x509.load_der_x509_certificate(der)
        if certificate.tbs_certificate_bytes != intent.tbs:
            raise ConflictError("the assembled certificate is not the one that was prepared")
        return certificate

    async def _record(self, intent: IssuanceRecord, certificate: x509.Certificate) -> CertificateRecord:
        now = self._clock.now()
        record = CertificateRecord(
            authority=intent.authority,
            serial=intent.serial,
            profile=intent.profile,
            subject=intent.subject,
            spki_sha256=intent.spki_sha256,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            state="active",
            certificate=certificate.public_bytes(Encoding.DER),
            crl_shard=intent.crl_shard,
        )

        def transaction(tx: Transaction) -> int:
            sequence = issuance_steps.record(tx, intent, record, now)
            self._on_record(tx, record, now)
            return sequence

        await self._on_event(await self._storage.write(transaction, brief=True))
        return record

    async def _void(self, intent: IssuanceRecord, reason: str) -> None:
        now = self._clock.now()
        await self._storage.write(lambda tx: issuance_steps.void(tx, intent, reason, now), brief=True)


@lru_cache(maxsize=64)  # of the authorities
def _public_key(certificate: bytes) -> CertificatePublicKeyTypes:
    return x509.load_der_x509_certificate(certificate).public_key()
