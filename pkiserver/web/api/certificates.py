"""Certificates: search, look at one, suspend, restore, revoke."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ConfigDict, Field

from config.hierarchy import INFRASTRUCTURE
from pkiserver.errors import NotAuthorizedError, NotFoundError
from pkiserver.ra.api_access import Caller
from pkiserver.ra.credentials import enrollable
from pkiserver.ra.lifecycle import (
    REVOCATION_REASONS,
    Command,
    HoldOwner,
    Standing,
    State,
)
from pkiserver.ra.lifecycle import Action as Step
from pkiserver.ra.registration.roles import Action, Target
from pkiserver.ra.subscribers import subscriber_profiles
from pkiserver.web.api.conditions import require_seen
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Moment,
    Operation,
    Parameters,
)
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from store import certificates, crl_entries, renewals, status_events
from store.applications import ApplicationRecord
from store.certificates import Place, Search
from store.database import Transaction
from store.owners import Owners
from store.records import ActorRecord, CertificateRecord, StatusEventRecord, from_unix, to_unix

_CURSOR: Final = r"^[0-9]{1,11}-[0-9a-f]{1,32}-[0-9]{1,9}$"
_CA: Final = r"^[a-z][a-z0-9-]{0,62}(\.[0-9]{1,4})?$"
Serial = Annotated[
    str, Field(pattern=r"^[0-9A-Fa-f]{1,32}$", description="The serial number in hexadecimal digits.")
]
CA = Annotated[str, Field(pattern=_CA, description="The authority: NAME, or NAME.2 for its second key.")]
CertificateCursor = Annotated[
    str, Field(pattern=_CURSOR, description="Where to go on: `next` of the page before.")
]
StateName = Literal["active", "suspended", "revoked", "expired"]
# The holder's side alone. Holds of authorities, and revocations against the holder's will, take four eyes.
Reason = Literal["unspecified", "keyCompromise", "superseded", "cessationOfOperation"]
GROUNDS: Final = {"holder_request": HoldOwner.HOLDER}


class CertificatePath(Parameters):
    """A certificate by issuer and serial number."""

    ca: CA
    serial: Serial


class CertificateSearch(Parameters):
    """What to look for; all of it has to hold."""

    serial: Serial | None = None
    ca: CA | None = None
    state: StateName | None = None
    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] | None = None
    issued_from: Annotated[Moment, Field(description="Issued at this moment or later.")] | None = None
    issued_until: Annotated[Moment, Field(description="Issued before this moment.")] | None = None
    expires_until: Annotated[Moment, Field(description="Valid until this moment at the longest.")] | None = (
        None
    )
    limit: Limit = DEFAULT_LIMIT
    after: CertificateCursor | None = None


class Suspension(Message):
    """Why a certificate is suspended or restored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ground": "holder_request"}]})

    ground: Literal["holder_request"]


class Revocation(Message):
    """Why a certificate is revoked, and since when it is thought to have been invalid (RFC 5280 §5.3.2)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "superseded"}]})

    reason: Reason
    invalid_since: Moment | None = None


class CertificateSummary(Message):
    """One certificate of a list."""

    ca: str
    serial: str
    subject: str
    profile: str
    state: StateName
    not_before: datetime
    not_after: datetime


class CertificateList(Message):
    """A page of certificates, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[CertificateSummary, ...]
    next: str | None


class StatusEvent(Message):
    """A change of status."""

    sequence: int
    at: datetime
    to: str
    actor: str


class Certificate(CertificateSummary):
    """One certificate. `revoked_at` and `reason` are what OCSP and CRLs say."""

    sha256: str
    revoked_at: datetime | None
    reason: str | None
    events: tuple[StatusEvent, ...]
    pem: str


async def list_certificates(services: APIServices, call: Call[Any, CertificateSearch, None]) -> Answer:
    """Search the certificates that the caller may see."""
    query, now = call.query, services.clock.now()
    wanted = Search(
        authorities=_searched(services, call),
        state=query.state,
        profile=query.profile,
        serial=None if query.serial is None else int(query.serial, 16),
        issued_from=query.issued_from,
        issued_until=query.issued_until,
        expires_until=query.expires_until,
        owners=owners(services, call.caller, Action.READ_CERTIFICATE),
    )
    after = None if query.after is None else _place(query.after)
    found = await services.storage.read(
        lambda tx: certificates.search(tx, wanted, now, after, query.limit + 1)
    )
    items = tuple(CertificateSummary(**_summary(services, one)) for one in found[: query.limit])
    more = len(found) > query.limit
    return Answer(CertificateList(items=items, next=_cursor(found[query.limit - 1]) if more else None))


async def show_certificate(services: APIServices, call: Call[CertificatePath, Any, None]) -> Answer:
    """Show one certificate and its history."""
    return await _shown(services, await _certificate(services, call, Action.READ_CERTIFICATE))


async def suspend(services: APIServices, call: Call[CertificatePath, Any, Suspension]) -> Answer:
    """Suspend a certificate at its holder's request."""
    command = Command(Step.SUSPEND, GROUNDS[call.body.ground])
    return await _change(services, call, command)


async def restore(services: APIServices, call: Call[CertificatePath, Any, Suspension]) -> Answer:
    """Lift the holder's hold; the certificate is active again where no other hold is open."""
    command = Command(Step.RESTORE, GROUNDS[call.body.ground])
    return await _change(services, call, command)


async def revoke(services: APIServices, call: Call[CertificatePath, Any, Revocation]) -> Answer:
    """Revoke a certificate at its holder's request: for good."""
    since = call.body.invalid_since
    command = Command(
        Step.REVOKE,
        reason=REVOCATION_REASONS[call.body.reason],
        invalid_since=None if since is None else from_unix(to_unix(since)),  # whole seconds, in UTC
    )
    return await _change(services, call, command)


async def _change(services: APIServices, call: Call[CertificatePath, Any, Any], command: Command) -> Answer:
    record = await _certificate(services, call, Action.CHANGE_CERTIFICATE)
    await _require_other(services, call, record)
    events = await services.storage.read(
        lambda tx: status_events.of_certificate(tx, record.authority, record.serial)
    )
    require_seen(call.seen, _version(services, record, events))
    await services.status_changes.carry_out(
        record.authority, record.serial, command, call.caller.actor, seen=events[-1].sequence
    )
    return await _shown(services, await _certificate(services, call, Action.CHANGE_CERTIFICATE))


async def _require_other(
    services: APIServices, call: Call[CertificatePath, Any, Any], record: CertificateRecord
) -> None:
    """Refuse to change what is the caller's own, as a person too, and what is of the authority itself."""

    def look(tx: Transaction) -> tuple[ApplicationRecord | None, ActorRecord | None]:
        return renewals.behind(tx, record), services.actors.holding(tx, record)

    application, actor = await services.storage.read(look)
    holder = application.person if application else None
    target = replace(target_of(services, record.authority, record.profile), holder=holder)
    call.caller.require(Action.CHANGE_CERTIFICATE, target)
    if actor is not None and actor.name == call.caller.name:
        raise NotAuthorizedError("it is your own certificate: somebody else has to do this")
    try:
        enrollable(services.profiles, record.profile)
    except NotFoundError as error:
        raise NotAuthorizedError("certificates of the authority itself are not changed here") from error


async def _certificate(
    services: APIServices, call: Call[CertificatePath, Any, Any], action: Action
) -> CertificateRecord:
    """Return the certificate of the path; `NotAuthorizedError` where the caller may not do this to it."""
    authority, serial = issuer_of(services, call.path.ca), int(call.path.serial, 16)
    record = await services.storage.read(lambda tx: certificates.get(tx, authority, serial))
    call.caller.require(action, target_of(services, authority, record.profile if record else None))
    if record is None:
        raise NotFoundError(f"authority {call.path.ca} has no certificate with this serial number")
    return record


async def _shown(services: APIServices, record: CertificateRecord) -> Answer:
    named = (record.authority, record.serial)

    def read(tx: Transaction) -> tuple[list[StatusEventRecord], Any]:
        return status_events.of_certificate(tx, *named), crl_entries.current(tx, *named)

    events, revocation = await services.storage.read(read)
    certificate = x509.load_der_x509_certificate(record.certificate)
    shown = Certificate(
        **_summary(services, record),
        sha256=certificate.fingerprint(SHA256()).hex(),
        revoked_at=revocation.revoked_at if revocation else None,
        reason=CRLReason(revocation.reason).name if revocation else None,
        events=tuple(
            StatusEvent(sequence=one.sequence, at=one.effective_at, to=one.to_state, actor=one.actor)
            for one in events
        ),
        pem=certificate.public_bytes(Encoding.PEM).decode(),
    )
    return Answer(shown, _version(services, record, events))


def _summary(services: APIServices, record: CertificateRecord) -> dict[str, Any]:
    return {
        "ca": services.authorities.record_with_id(record.authority).handle,
        "serial": serial_text(record.serial),
        "subject": record.subject,
        "profile": record.profile,
        "state": _state(services, record).value,
        "not_before": record.not_before,
        "not_after": record.not_after,
    }


def _state(services: APIServices, record: CertificateRecord) -> State:
    return Standing(State(record.state), record.not_after).at(services.clock.now())


def _version(services: APIServices, record: CertificateRecord, events: list[StatusEventRecord]) -> str:
    return f"{events[-1].sequence if events else 0}-{_state(services, record).value}"


def target_of(services: APIServices, authority: int, profile: str | None) -> Target:
    """Return whose a certificate or enrolment of this profile is; None: whose the authority's mostly are.

    A subscriber's is of a profile of subscribers, and neither of `infrastructure` nor of the root: the OCSP
    responder of `citizen` is the infrastructure's, and so is a profile that is configured no more.
    """
    ours = authority not in _subscribers_authorities(services)
    return Target(
        infrastructure=ours or (profile is not None and profile not in subscriber_profiles(services.profiles))
    )


def owners(services: APIServices, caller: Caller, action: Action) -> Owners:
    """Return to whose certificates or enrolments a caller may do this."""
    return Owners(
        _subscribers_authorities(services),
        subscriber_profiles(services.profiles),
        frozenset(
            of_subscriber
            for of_subscriber in (True, False)
            if caller.may(action, Target(infrastructure=not of_subscriber))
        ),
    )


def _subscribers_authorities(services: APIServices) -> frozenset[int]:
    return frozenset(
        one.id
        for one in services.authorities.records
        if one.name != INFRASTRUCTURE and one.parent is not None
    )


def _searched(services: APIServices, call: Call[Any, CertificateSearch, None]) -> list[int]:
    if call.query.ca is None:
        return [one.id for one in services.authorities.records]
    asked = issuer_of(services, call.query.ca)
    # Who may read what is the infrastructure's finds some at every authority: its OCSP responder.
    if not call.caller.may(Action.READ_CERTIFICATE, Target(infrastructure=True)):
        call.caller.require(Action.READ_CERTIFICATE, target_of(services, asked, None))
    return [asked]


def issuer_of(services: APIServices, handle: str) -> int:
    """Return the authority of this handle; `NotFoundError` where there is none."""
    for record in services.authorities.records:
        if record.handle == handle:
            return record.id
    raise NotFoundError(f"there is no authority {handle}")


def _cursor(record: CertificateRecord) -> str:
    return f"{to_unix(record.not_before)}-{record.serial:x}-{record.authority}"


def _place(cursor: str) -> Place:
    begun, serial, authority = cursor.split("-")
    return Place(from_unix(int(begun)), int(serial, 16), int(authority))


OPERATIONS: Final = (
    Operation(
        "listCertificates",
        "GET",
        "/certificates",
        "Search certificates",
        Action.READ_CERTIFICATE,
        list_certificates,
        CertificateList,
        query=CertificateSearch,
    ),
    Operation(
        "showCertificate",
        "GET",
        "/certificates/{ca}/{serial}",
        "Show a certificate and its history",
        Action.READ_CERTIFICATE,
        show_certificate,
        Certificate,
        parameters=CertificatePath,
        shows_version=True,
    ),
    *(
        Operation(
            f"{verb}Certificate",
            "POST",
            f"/certificates/{{ca}}/{{serial}}/{verb}",
            summary,
            Action.CHANGE_CERTIFICATE,
            handle,
            Certificate,
            parameters=CertificatePath,
            body=body,
            versioned=True,
        )
        for verb, summary, handle, body in (
            ("suspend", "Suspend a certificate at its holder's request", suspend, Suspension),
            ("restore", "Lift the holder's hold on a certificate", restore, Suspension),
            ("revoke", "Revoke a certificate at its holder's request", revoke, Revocation),
        )
    ),
)
