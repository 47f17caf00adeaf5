"""What the store must say before a certificate is issued: asked in the transaction that reserves it.

Whether the issuer may issue, whether its holder still may renew, whether the key is nobody else's, and
whether there is a use, an approval or a place left.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from config.profile import Profile
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.root_updates import LINK_PROFILE
from pkiserver.ca.serials import SERIAL_BITS
from pkiserver.errors import (
    ConflictError,
    KeyRefusedError,
    NotAuthorizedError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from protocols.asn1.ocsp import CRLReason
from store import authorities as authority_rows
from store import (
    certificates,
    credentials,
    crl_entries,
    enrollments,
    holders,
    issuances,
    renewals,
)
from store.database import Transaction
from store.records import AuthorityRecord, AuthorityState, CertificateRecord

COMPROMISED: Final = frozenset({CRLReason.KEY_COMPROMISE, CRLReason.CA_COMPROMISE})
MAX_RENEWALS_A_DAY: Final = 50  # of one subject and profile; a token that is tried out needs a few

_WHY_NOT: Final[Mapping[AuthorityState, str]] = {
    "prepared": "does not issue yet",
    "published": "does not issue yet",
    "retiring": "issues no more: another key does",
    "ended": "has issued its last CRL: it has ended",
    "compromised": "is compromised: it issues no more",
    "dropped": "was dropped before it issued",
}


class NotTakenError(PKIServerError):
    """A certificate of this profile and key was issued to this requester, and it has not taken it yet."""


def require_permitted(
    tx: Transaction,
    request: AuthorizedRequest,
    authorities: Authorities,
    issuer: AuthorityRecord,
    spki_sha256: bytes,
    subject: str,
    now: datetime,
) -> None:
    """Hold a request to the state of the store, and take the use of its credential."""
    known = refuse_reused_key(tx, request.profile, spki_sha256, subject)
    if request.repeatable and known and _is_not_taken(tx, request, spki_sha256):
        raise NotTakenError("it was issued and not taken")
    _require_good_issuer(tx, authorities, issuer, request.profile)
    for held in request.entitled_by:
        require_entitled(tx, held, now)
    if request.bounded:
        _refuse_more_renewals(tx, request.profile.name, subject, now)
    if request.credential is not None:
        _require_good_signature(tx, request.credential)
        if not credentials.take_use(tx, request.credential, now):
            raise ConflictError("the credential has no use left")
    if request.enrollment is not None:
        _require_approved(tx, request.enrollment, now)


def _require_good_issuer(
    tx: Transaction, authorities: Authorities, issuer: AuthorityRecord, profile: Profile
) -> None:
    """Hold an authority to its state, and to that of its own certificate: suspended it issues nothing."""
    _require_may_issue(issuer, authority_rows.state_of(tx, issuer.id), profile)
    if issuer.certificate is None:
        return  # a root about to certify itself
    authority = authorities.with_id(issuer.id)
    above = authorities.above(authority) or authority
    serial = authority.certificate.serial_number
    if above.key_label is None or serial >> SERIAL_BITS:
        return  # certified outside: its status is not known here
    state = certificates.state_of(tx, above.id, serial)
    if state not in (None, "active"):
        raise ConflictError(f"the certificate of authority {issuer.handle} is {state}")


def _require_may_issue(issuer: AuthorityRecord, state: AuthorityState, profile: Profile) -> None:
    """Raise `ConflictError` unless a generation in this state issues certificates of this profile.

    Before it is active, and after, it certifies itself, its OCSP signers and the links of a root alone.
    """
    own = profile.kind in ("root-ca", "ocsp-responder") or profile.name == LINK_PROFILE
    if state == "active" or (own and state in ("prepared", "published", "retiring")):
        return
    raise ConflictError(f"authority {issuer.handle} {_WHY_NOT[state]}")


def require_not_compromised(state: AuthorityState) -> None:
    """Raise `ConflictError` where the authority was found compromised since the intent was stored."""
    if state == "compromised":
        raise ConflictError(f"the authority {_WHY_NOT[state]}")


def refuse_reused_key(tx: Transaction, profile: Profile, spki_sha256: bytes, subject: str) -> bool:
    """A key belongs to one subject, and once compromised to nobody (CA/B BR 6.1.1.3).

    A key for signatures that bind serves nothing else. Returns whether the key was seen before.
    """
    subjects = issuances.subjects_of_key(tx, spki_sha256)
    if subjects - {subject}:
        raise KeyRefusedError("this key is in use by another subject: make a new one")
    others = certificates.with_key(tx, spki_sha256)
    if _is_compromised(tx, others):
        raise KeyRefusedError("this key was revoked as compromised: make a new one")
    signs_only = tuple(profile.key_usage) == ("nonRepudiation",)
    for other in others:
        if other.profile != profile.name and (signs_only or _signs_only(other)):
            raise KeyRefusedError(f"this key is in use for {other.profile}: make a new one")
    return bool(subjects)


def require_entitled(tx: Transaction, held: CertificateRecord, now: datetime) -> None:
    """Raise `NotAuthorizedError` unless a certificate speaks for its holder at `now`.

    It must be active, and its key not known as compromised, by whichever of its certificates. One that CMP
    issued must be confirmed (RFC 9810 §5.3.18): renewed before, it would live on when it is withdrawn and
    the use of its credential given back, as often as its holder likes.
    """
    entitled(tx, held.authority, held.serial, held.certificate, now)


def entitled(
    tx: Transaction, authority: int, serial: int, certificate: bytes, now: datetime
) -> CertificateRecord:
    """Return the record of a DER certificate that speaks for its holder at `now`; as `require_entitled`."""
    held = holders.get(tx, authority, serial, COMPROMISED)
    if held is None or held.record.certificate != certificate:
        raise NotAuthorizedError("the client certificate is not on record")
    current = held.record
    if current.state != "active":
        raise NotAuthorizedError(f"the client certificate is {current.state}")
    if now > current.not_after:
        raise NotAuthorizedError("the client certificate is expired")
    if held.is_unconfirmed:
        raise NotAuthorizedError("the client certificate is not confirmed yet")
    if held.is_key_revoked:
        raise NotAuthorizedError("the key of the client certificate was revoked as compromised")
    return current


def _require_good_signature(tx: Transaction, credential: int) -> None:
    """Hold a credential that was got by a signature to that certificate, which may have expired since."""
    signed_with = renewals.signed_with(tx, credential)
    state = certificates.state_of(tx, *signed_with) if signed_with is not None else None
    if state in ("suspended", "revoked"):
        raise NotAuthorizedError(f"the certificate by which the application was signed is {state}")


def _is_compromised(tx: Transaction, with_key: Sequence[CertificateRecord]) -> bool:
    """Return whether the key of these certificates, which are all that it has, is known as compromised."""
    revocations = (
        crl_entries.current(tx, certificate.authority, certificate.serial) for certificate in with_key
    )
    return any(found is not None and found.reason in COMPROMISED for found in revocations)


def _is_not_taken(tx: Transaction, request: AuthorizedRequest, spki_sha256: bytes) -> bool:
    return issuances.undelivered(tx, request.requested_by, request.profile.name, spki_sha256) is not None


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
