"""The steps of an issuance as transactions: what the store and the audit log hold of each.

Each function is the whole of one transaction, or a part of the one that its caller names.
"""

import hashlib
from datetime import datetime
from typing import Any, Final, Literal

from pkiserver import audit
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.distribution_points import CRLAddress
from pkiserver.ca.issuance_rules import require_entitled, require_not_compromised
from pkiserver.errors import ConflictError, UnavailableError
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import authorities as authority_rows
from store import (
    certificates,
    credentials,
    enrollments,
    issuances,
    signed_requests,
    status_events,
    undelivered_keys,
)
from store.database import Transaction
from store.records import AuthorityRecord, CertificateRecord, IssuanceRecord

_INTENDED: Final = {"prepared": "certificate.prepare", "signing": "certificate.sign"}


def reserve(
    tx: Transaction,
    request: AuthorizedRequest,
    *,
    authority: AuthorityRecord,
    serial: int,
    subject: str,
    spki_sha256: bytes,
    crl: CRLAddress,
    tbs: bytes,
    state: Literal["prepared", "signing"],
    now: datetime,
) -> IssuanceRecord:
    """Reserve the serial and store the intent, of a request that was held to the rules before."""
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


def mark_signing(
    tx: Transaction, intent: IssuanceRecord, entitled_by: tuple[CertificateRecord, ...], now: datetime
) -> None:
    """Mark an intent as being signed.

    `ConflictError` where it has ended or its authority is compromised, `NotAuthorizedError` where a
    certificate that entitles to it no longer speaks for its holder.
    """
    for held in entitled_by:
        require_entitled(tx, held, now)
    require_not_compromised(authority_rows.state_of(tx, intent.authority))
    if not issuances.mark_signing(tx, intent.id):
        raise ConflictError("this issuance has ended already")
    _audit(tx, now, intent, "certificate.sign")


def record(tx: Transaction, intent: IssuanceRecord, certificate: CertificateRecord, now: datetime) -> int:
    """Store certificate, status event and audit record; return the sequence number of the event."""
    if not issuances.mark_issued(tx, intent.id, now):
        raise ConflictError("this issuance has ended already")
    certificates.add(tx, certificate)
    if intent.enrollment is not None:
        enrollments.mark_issued(tx, intent.enrollment, intent.serial)
    audited = _audit(
        tx,
        now,
        intent,
        "certificate.issue",
        effective_at=now.isoformat(),
        sha256=hashlib.sha256(certificate.certificate).hexdigest(),
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


def void(tx: Transaction, intent: IssuanceRecord, reason: str, now: datetime) -> None:
    """End an issuance that made no certificate, and give the credential its use back."""
    if issuances.mark_voided(tx, intent.id, now):
        if intent.credential is not None:
            credentials.give_back_use(tx, intent.credential)
        _audit(tx, now, intent, "certificate.void", reason=reason)


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
