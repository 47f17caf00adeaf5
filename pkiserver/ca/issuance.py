"""The way of a certificate: prepare -> a single-use token -> issue, each step durable before the next.

1. prepare: key policy, TBS from the profile, lint; serial, TBS and intent stored; audited.
2. issue: marked as being signed and audited; signed; assembled and compared; certificate, status
   event and audit stored in one transaction.

`certify` does both where nothing comes between: the intent is stored as being signed at once.

A crash leaves an intent that `recover` finishes (it may have been signed) or voids (it was not), so
no certificate exists that is not on record.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import Profile
from config.units import Lifetime
from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.distribution_points import CRLAddress, DistributionPoints
from pkiserver.ca.extensions import Addresses
from pkiserver.ca.identity import Identity
from pkiserver.ca.key_policy import check_key
from pkiserver.ca.lint import check_tbs
from pkiserver.ca.root_updates import LINK_PROFILE
from pkiserver.ca.tbs import CertificateContents, IssuerFacts, build_tbs, lint_facts, validity
from pkiserver.ca.weak_keys import WeakKeyList
from pkiserver.clock import Clock
from pkiserver.errors import (
    ConflictError,
    KeyRefusedError,
    NotAuthorizedError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from pkiserver.signer.algorithms import load_public_key, signature_algorithm_for, verify
from pkiserver.signer.client import Signer
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import TBSCertificate, assemble_certificate, serial_text
from protocols.x509.names import subject_text
from store import audit as audit_chain
from store import authorities as authority_rows
from store import (
    certificates,
    credentials,
    crl_entries,
    enrollments,
    issuances,
    signed_requests,
    status_events,
    undelivered_keys,
)
from store.database import Transaction
from store.records import AuthorityRecord, AuthorityState, CertificateRecord, IssuanceRecord

COMPROMISED: Final = frozenset({CRLReason.KEY_COMPROMISE, CRLReason.CA_COMPROMISE})
MAX_RENEWALS_A_DAY: Final = 50  # of one subject and profile; a token that is tried out needs a few
SERIAL_BITS: Final = 127  # positive and at most 16 octets; CA/B BR 7.1 asks for 64 random bits


_WHY_NOT: Final[Mapping[AuthorityState, str]] = {
    "prepared": "does not issue yet",
    "published": "does not issue yet",
    "retiring": "issues no more: another key does",
    "ended": "has issued its last CRL: it has ended",
    "compromised": "is compromised: it issues no more",
}

Reserved = Callable[[Transaction, IssuanceRecord], None]  # takes part in the transaction of the intent
_INTENDED: Final = {"prepared": "certificate.prepare", "signing": "certificate.sign"}

OnEvent = Callable[[int], Awaitable[None]]  # told the sequence number of a status event on disk


class NotTakenError(PKIServerError):
    """A certificate of this profile and key was issued to this requester, and it has not taken it yet."""


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that somebody was entitled to make; made by `ra` and by the hierarchy's own needs."""

    profile: Profile
    authority: str
    identity: Identity
    public_key: CertificatePublicKeyTypes
    requested_by: str
    credential: int | None = None
    enrollment: int | None = None  # whose approval it uses up
    entitled_by: CertificateRecord | None = None  # the current certificate that its holder shows
    key_made_here: bool = False  # its certificate is of no use to anybody unless the key is delivered
    signed_request: bytes | None = None  # SHA-256 of the message that asked: sent again, it issues nothing
    repeatable: bool = False  # `NotTakenError` where the requester has not taken what it got for this key
    reserved: Reserved | None = None  # told of the intent, to keep something beside it
    bounded: bool = False  # nobody approved how many: `MAX_RENEWALS_A_DAY` for one subject
    lifetime: Lifetime | None = None  # for the kinds of profile that leave it to the authority
    until_issuer_ends: bool = False  # cut rather than refused where it would outlive its issuer
    validity: tuple[datetime, datetime] | None = None  # instead of a lifetime: that of another certificate


@dataclass(slots=True)
class PreparedCertificate:
    """The single-use token for one signature: what was checked, stored and may be signed now."""

    intent: IssuanceRecord
    entitled_by: CertificateRecord | None = None
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
        on_event: OnEvent,
    ) -> None:
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._authorities = authorities
        self._weak_keys = weak_keys
        self._public_url = public_url
        self._distribution_points = distribution_points
        self._gate = gate
        self._on_event = on_event
        self._issuers: dict[int, IssuerFacts] = {}  # what their present certificates say
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
        serial = _random_serial()
        authority = self._authorities.record(request.authority)  # once: another may become the active one
        crl = await self._distribution_points.choose(authority)
        tbs = self._tbs(request, authority, serial, crl, now)
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
        await self._storage.read(lambda tx: self._refuse_reused_key(tx, request, digest, subject))

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
                signature = await self._sign(intent)
                der = self._assemble(intent, signature)
            except PKIServerError as error:
                await self._void(intent, str(error))
                raise UnavailableError("the certificate could not be signed; try again later") from error
            return await self._record(intent, der)
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
            der = self._assemble(intent, await self._sign(intent))
        except UnavailableError:
            raise
        except PKIServerError as error:  # it will not be better the next time, and others wait behind it
            await self._void(intent, str(error))
            return
        await self._record(intent, der)

    def _tbs(
        self,
        request: AuthorizedRequest,
        authority: AuthorityRecord,
        serial: int,
        crl: CRLAddress,
        now: datetime,
    ) -> bytes:
        profile = request.profile
        if request.lifetime is not None:
            profile = profile.with_lifetime(request.lifetime)
        issuer = self._issuer(request, authority)
        begin_and_end = request.validity or validity(
            profile, now, issuer.not_after, cut=request.until_issuer_ends
        )
        contents = CertificateContents(
            profile,
            request.identity,
            request.public_key,
            issuer,
            self._addresses(authority, crl),
            serial,
            *begin_and_end,
        )
        tbs = build_tbs(contents)
        check_tbs(tbs, lint_facts(contents))
        return tbs

    def _addresses(self, authority: AuthorityRecord, crl: CRLAddress) -> Addresses:
        url = self._public_url
        return Addresses(f"{url}/ocsp", f"{url}/ca/{authority.handle}.cer", crl.url, crl.delta)

    def _issuer(self, request: AuthorizedRequest, authority: AuthorityRecord) -> IssuerFacts:
        """Return what the certificate says of its issuer; a root that has none yet issues itself."""
        if authority.certificate is None:
            return IssuerFacts.of_root(request.identity.subject, request.public_key)
        certificate = self._authorities.with_id(authority.id).certificate
        known = self._issuers.get(authority.id)
        if known is None or known.certificate is not certificate:
            known = self._issuers[authority.id] = IssuerFacts.of(certificate)
        return known

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
            self._require_permitted(tx, request, authority, spki_sha256, subject, now)
            intent = issuances.reserve(
                tx,
                authority=authority.id,
                serial=serial,
                profile=request.profile.name,
                subject=subject,
                spki_sha256=spki_sha256,
                tbs=tbs,
                tbs_sha256=hashlib.sha256(tbs).digest(),
                requested_by=request.requested_by,
                credential=request.credential,
                enrollment=request.enrollment,
                crl_shard=crl.shard if request.profile.crl_distribution_points else 0,
                state=state,
                now=now,
            )
            _keep_beside(tx, request, intent)
            approved = {} if intent.enrollment is None else {"enrollment": intent.enrollment}
            _audit(tx, now, intent, _INTENDED[state], personal={"subject": subject}, **approved)
            return intent

        return await self._storage.write(transaction, brief=True)

    def _require_permitted(
        self,
        tx: Transaction,
        request: AuthorizedRequest,
        authority: AuthorityRecord,
        spki_sha256: bytes,
        subject: str,
        now: datetime,
    ) -> None:
        """Hold a request to the state of the store, and take the use of its credential."""
        known = self._refuse_reused_key(tx, request, spki_sha256, subject)
        if request.repeatable and known and _is_not_taken(tx, request, spki_sha256):
            raise NotTakenError("it was issued and not taken")
        self._require_good_issuer(tx, authority, request.profile)
        if request.entitled_by is not None:
            require_entitled(tx, request.entitled_by, now)
        if request.bounded:
            _refuse_more_renewals(tx, request.profile.name, subject, now)
        if request.credential is not None and not credentials.take_use(tx, request.credential, now):
            raise ConflictError("the credential has no use left")
        if request.enrollment is not None:
            _require_approved(tx, request.enrollment, now)

    def _require_good_issuer(self, tx: Transaction, issuer: AuthorityRecord, profile: Profile) -> None:
        """Hold an authority to its state, and to that of its own certificate: suspended it issues nothing."""
        require_may_issue(issuer, authority_rows.state_of(tx, issuer.id), profile)
        if issuer.certificate is None:
            return  # a root about to certify itself
        authority = self._authorities.with_id(issuer.id)
        above = self._authorities.above(authority) or authority
        serial = authority.certificate.serial_number
        if above.key_label is None or serial >> SERIAL_BITS:
            return  # certified outside: its status is not known here
        state = certificates.state_of(tx, above.id, serial)
        if state not in (None, "active"):
            raise ConflictError(f"the certificate of authority {issuer.handle} is {state}")

    def _refuse_reused_key(
        self, tx: Transaction, request: AuthorizedRequest, spki_sha256: bytes, subject: str
    ) -> bool:
        """A key belongs to one subject, and once compromised to nobody (CA/B BR 6.1.1.3).

        A key for signatures that bind serves nothing else. Returns whether the key was seen before.
        """
        subjects = issuances.subjects_of_key(tx, spki_sha256)
        if subjects - {subject}:
            raise KeyRefusedError("this key is in use by another subject: make a new one")
        others = certificates.with_key(tx, spki_sha256)
        if _is_compromised(tx, others):
            raise KeyRefusedError("this key was revoked as compromised: make a new one")
        signs_only = tuple(request.profile.key_usage) == ("nonRepudiation",)
        for other in others:
            if other.profile != request.profile.name and (signs_only or _signs_only(other)):
                raise KeyRefusedError(f"this key is in use for {other.profile}: make a new one")
        return bool(subjects)

    async def _mark_signing(self, intent: IssuanceRecord, entitled_by: CertificateRecord | None) -> None:
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            if entitled_by is not None:
                require_entitled(tx, entitled_by, now)
            if authority_rows.state_of(tx, intent.authority) == "compromised":
                raise ConflictError(f"the authority {_WHY_NOT['compromised']}")
            if not issuances.mark_signing(tx, intent.id):
                raise ConflictError("this issuance has ended already")
            _audit(tx, now, intent, "certificate.sign")

        await self._storage.write(transaction, brief=True)

    async def _sign(self, intent: IssuanceRecord) -> bytes:
        if hashlib.sha256(intent.tbs).digest() != intent.tbs_sha256:
            raise ConflictError("the stored TBSCertificate is not the one that was prepared")
        authority = self._authorities.record_with_id(intent.authority)
        if authority.key_label is None:
            raise ConflictError(f"the key of authority {authority.name} is kept outside")
        if authority.state == "compromised":  # since the intent was stored, perhaps before a crash
            raise ConflictError(f"the authority {_WHY_NOT['compromised']}")
        return await self._signer.sign(authority.key_label, intent.tbs)

    def _assemble(self, intent: IssuanceRecord, signature: bytes) -> bytes:
        """Return the certificate, after its signature was verified and its TBS compared."""
        public_key = self._issuer_key(intent)
        verify(public_key, signature, intent.tbs)
        der = assemble_certificate(intent.tbs, signature_algorithm_for(public_key).der, signature)
        if x509.load_der_x509_certificate(der).tbs_certificate_bytes != intent.tbs:
            raise ConflictError("the assembled certificate is not the one that was prepared")
        return der

    async def _record(self, intent: IssuanceRecord, der: bytes) -> CertificateRecord:
        now = self._clock.now()
        certificate = x509.load_der_x509_certificate(der)
        record = CertificateRecord(
            authority=intent.authority,
            serial=intent.serial,
            profile=intent.profile,
            subject=intent.subject,
            spki_sha256=intent.spki_sha256,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            state="active",
            certificate=der,
            crl_shard=intent.crl_shard,
        )

        def transaction(tx: Transaction) -> int:
            if not issuances.mark_issued(tx, intent.id, now):
                raise ConflictError("this issuance has ended already")
            certificates.add(tx, record)
            if intent.enrollment is not None:
                enrollments.mark_issued(tx, intent.enrollment, intent.serial)
            audited = _audit(
                tx,
                now,
                intent,
                "certificate.issue",
                effective_at=now.isoformat(),
                sha256=hashlib.sha256(der).hexdigest(),
                sequence=status_events.head(tx) + 1,
            )
            return status_events.append(
                tx,
                authority=intent.authority,
                serial=intent.serial,
                from_state=None,
                to_state="active",
                reason=None,
                effective_at=now,
                actor=intent.requested_by,
                audit=audited,
            )

        await self._on_event(await self._storage.write(transaction, brief=True))
        return record

    async def _void(self, intent: IssuanceRecord, reason: str) -> None:
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            if issuances.mark_voided(tx, intent.id, now):
                if intent.credential is not None:
                    credentials.give_back_use(tx, intent.credential)
                _audit(tx, now, intent, "certificate.void", reason=reason)

        await self._storage.write(transaction, brief=True)


@lru_cache(maxsize=64)  # of the authorities
def _public_key(certificate: bytes) -> CertificatePublicKeyTypes:
    return x509.load_der_x509_certificate(certificate).public_key()


def key_hash(public_key: CertificatePublicKeyTypes) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo, by which a key is known in the store."""
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def require_may_issue(issuer: AuthorityRecord, state: AuthorityState, profile: Profile) -> None:
    """Raise `ConflictError` unless a generation in this state issues certificates of this profile.

    Before it is active, and after, it certifies itself, its OCSP signers and the links of a root alone.
    """
    own = profile.kind in ("root-ca", "ocsp-responder") or profile.name == LINK_PROFILE
    if state == "active" or (own and state in ("prepared", "published", "retiring")):
        return
    raise ConflictError(f"authority {issuer.handle} {_WHY_NOT[state]}")


def _random_serial() -> int:
    return secrets.randbits(SERIAL_BITS) or 1


def require_entitled(tx: Transaction, held: CertificateRecord, now: datetime) -> None:
    """Raise `NotAuthorizedError` unless a certificate speaks for its holder at `now`.

    It must be active, and its key not known as compromised, by whichever of its certificates.
    """
    current = certificates.get(tx, held.authority, held.serial)
    if current is None or current.certificate != held.certificate:
        raise NotAuthorizedError("the client certificate is not on record")
    if current.state != "active":
        raise NotAuthorizedError(f"the client certificate is {current.state}")
    if now > current.not_after:
        raise NotAuthorizedError("the client certificate is expired")
    if _is_compromised(tx, certificates.with_key(tx, held.spki_sha256)):
        raise NotAuthorizedError("the key of the client certificate was revoked as compromised")


def _is_compromised(tx: Transaction, with_key: Sequence[CertificateRecord]) -> bool:
    """Return whether the key of these certificates, which are all that it has, is known as compromised."""
    revocations = (
        crl_entries.current(tx, certificate.authority, certificate.serial) for certificate in with_key
    )
    return any(found is not None and found.reason in COMPROMISED for found in revocations)


def _is_not_taken(tx: Transaction, request: AuthorizedRequest, spki_sha256: bytes) -> bool:
    return issuances.undelivered(tx, request.requested_by, request.profile.name, spki_sha256) is not None


def _keep_beside(tx: Transaction, request: AuthorizedRequest, intent: IssuanceRecord) -> None:
    """Store with the intent what others ask of it."""
    if request.key_made_here:
        undelivered_keys.add(tx, intent.id)
    if request.signed_request is not None:
        if signed_requests.find(tx, request.signed_request) is not None:  # sent twice at once
            raise UnavailableError("this request is being answered; try again")
        signed_requests.add(tx, request.signed_request, intent.id)
    if request.reserved is not None:
        request.reserved(tx, intent)


def _refuse_more_renewals(tx: Transaction, profile: str, subject: str, now: datetime) -> None:
    """Bound what one holder can make the CA sign and keep."""
    if certificates.count_since(tx, profile, subject, now - timedelta(days=1)) >= MAX_RENEWALS_A_DAY:
        raise RefusedError(f"{MAX_RENEWALS_A_DAY} certificates were issued to this holder within a day")


def _require_approved(tx: Transaction, enrollment: int, now: datetime) -> None:
    """Hold an approval to one certificate; the same request gets its answer a moment later."""
    if not enrollments.is_approved(tx, enrollment, now) or issuances.of_enrollment(tx, enrollment):
        raise UnavailableError("this enrolment is being decided or issued; try again")


def _signs_only(certificate: CertificateRecord) -> bool:
    """Return whether a certificate is for signatures that bind (nonRepudiation) and for nothing else."""
    parsed = x509.load_der_x509_certificate(certificate.certificate)
    usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    return usage.content_commitment and not usage.digital_signature


def _audit(
    tx: Transaction,
    now: datetime,
    intent: IssuanceRecord,
    action: str,
    *,
    personal: dict[str, str] | None = None,
    **detail: Any,
) -> int:
    """Append the audit record of a step and return its sequence number."""
    entry = audit.entry(
        now,
        intent.requested_by,
        action,
        personal=personal,
        authority=intent.authority,
        serial=serial_text(intent.serial),
        profile=intent.profile,
        tbs_sha256=intent.tbs_sha256.hex(),
        **detail,
    )
    return audit_chain.append(tx, entry).sequence
