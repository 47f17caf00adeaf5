"""Cases: asked for by registrars, services and officers, entered of authorities' decisions, and decided."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.errors import RefusedError
from pkiserver.ra.cases.entry import MAX_EVIDENCE_CHARACTERS, NewCase
from pkiserver.ra.cases.rules import ROLES, Channel, Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.certificates import CertificatePath, issuer_of
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.offices import OfficeCode
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Number,
    Operation,
    Parameters,
)
from pkiserver.web.api.people import PersonPath
from protocols.x509.certificate import serial_text
from store.cases import CaseRecord
from store.records import from_unix, to_unix

_CURSOR: Final = r"^[0-9]{1,11}-[0-9]{1,18}$"
KindName = Literal["suspend", "restore", "revoke", "unblock"]
ChannelName = Literal["written", "self_service", "authority", "civil_registry", "organization"]
# What the holder or the organisation asks; what is against the holder's will has an operation of its own.
AskedGround = Literal[
    "holder_request",
    "carrier_missing",
    "carrier_found",
    "carrier_blocked",
    "carrier_exchanged",
    "key_compromised",
    "cause_gone",
    "death",
    "citizenship_lost",
    "name_changed",
    "position_changed",
    "officer_left",
    "contract_ended",
]
Line = Annotated[str, Field(min_length=1, max_length=MAX_EVIDENCE_CHARACTERS)]
_ASKING: Final = (Channel.WRITTEN, Channel.SELF_SERVICE, Channel.ORGANIZATION)


class CasePath(Parameters):
    """A case by its number."""

    case: Number


class CaseSearch(Parameters):
    """Which open cases; without an office those that the caller may see."""

    office: OfficeCode | None = None
    overdue: Annotated[bool, Field(description="Only those whose time is over.")] = False
    limit: Limit = DEFAULT_LIMIT
    after: (
        Annotated[str, Field(pattern=_CURSOR, description="Where to go on: `next` of the page before.")]
        | None
    ) = None


class CaseRequest(Message):
    """What is asked. `office` received it in writing; `letter` is the number of that, or of an official one.

    `lifts`: the case of the organisation's hold that is to end. `channel` follows from the caller's role.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "suspend", "ground": "carrier_missing", "office": "ub-1", "letter": "2026/17"}
            ]
        }
    )

    kind: KindName
    ground: AskedGround
    office: OfficeCode | None = None
    letter: Line | None = None
    lifts: Number | None = None
    channel: Literal["written", "self_service", "organization"] | None = None


class RevocationProposal(Message):
    """Why a certificate is to be revoked against its holder's will; a second person decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ground": "forged_documents", "office": "ub-1", "letter": "2026/18"}]
        }
    )

    ground: Literal["forged_documents", "duties_breached"]
    office: OfficeCode
    letter: Line | None = None


class AuthorityDecision(Message):
    """A competent authority's decision: who decided, its number and date, and the document (regulation 3.3).

    `lifts`: the case of the decision whose hold is to end (3.5).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "suspend",
                    "ground": "authority_decision",
                    "body": "Prosecutor's office",
                    "number": "17",
                    "date": "2026-07-08",
                    "document": "scan-88",
                }
            ]
        }
    )

    kind: Literal["suspend", "restore", "revoke"]
    ground: Literal["authority_decision", "cause_gone"]
    body: Line
    number: Line
    date: Line
    document: Line
    office: OfficeCode | None = None
    lifts: Number | None = None


class CaseDecision(Message):
    """What is decided, and why in one line, without personal data."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"granted": True, "ground": "signature compared"}]}
    )

    granted: bool
    ground: Line


class Evidence(Message):
    """What a case rests on."""

    body: str | None = None
    number: str | None = None
    date: str | None = None
    document: str | None = None
    letter: str | None = None
    message: str | None = None


class Case(Message):
    """A case; what is said of its decision is null while it is open."""

    case: int
    kind: KindName
    channel: ChannelName
    ground: str
    state: Literal["received", "granted", "refused"]
    version: int
    ca: str
    serial: str
    office: str | None
    person: int | None
    lifts: int | None
    evidence: Evidence
    received_at: datetime
    due_at: datetime
    entered_by: str
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None


class CaseList(Message):
    """Cases; of open ones the most urgent first. `next` leads to the page behind, null where none is."""

    items: tuple[Case, ...]
    next: str | None


async def request_case(services: APIServices, call: Call[CertificatePath, Any, CaseRequest]) -> Answer:
    """Ask for something about a certificate: in writing, for a holder, or for an organisation."""
    body = call.body
    evidence = {"letter": body.letter} if body.letter is not None else {}
    new = _new(services, call, Kind(body.kind), _channel(call), evidence)
    return await _received(services, call, new)


async def propose_revocation(
    services: APIServices, call: Call[CertificatePath, Any, RevocationProposal]
) -> Answer:
    """Propose to revoke a certificate against its holder's will."""
    evidence = {"letter": call.body.letter} if call.body.letter is not None else {}
    return await _received(services, call, _new(services, call, Kind.REVOKE, Channel.WRITTEN, evidence))


async def enter_decision(
    services: APIServices, call: Call[CertificatePath, Any, AuthorityDecision]
) -> Answer:
    """Enter an authority's decision about a certificate; a second person confirms it."""
    evidence = {name: getattr(call.body, name) for name in ("body", "number", "date", "document")}
    new = _new(services, call, Kind(call.body.kind), Channel.AUTHORITY, evidence)
    return await _received(services, call, new)


async def list_cases(services: APIServices, call: Call[Any, CaseSearch, None]) -> Answer:
    """List open cases, the most urgent first."""
    query = call.query
    found = await services.registration.cases.urgent(
        call.caller.acting,
        office=query.office,
        until=services.clock.now() if query.overdue else None,
        after=None if query.after is None else _place(query.after),
        limit=query.limit + 1,
    )
    more = _cursor(found[query.limit - 1]) if len(found) > query.limit else None
    return Answer(CaseList(items=await _cases(services, found[: query.limit]), next=more))


async def show_case(services: APIServices, call: Call[CasePath, Any, None]) -> Answer:
    """Show a case."""
    found = await services.registration.cases.show(call.caller.acting, call.path.case)
    return await _shown(services, found)


async def decide_case(services: APIServices, call: Call[CasePath, Any, CaseDecision]) -> Answer:
    """Grant or refuse a case; what is granted is done with the decision."""
    decision = Decision(seen_number(call.seen), call.body.granted, call.body.ground)
    cases = services.registration.cases
    found = await cases.decide(call.caller.acting, call.path.case, decision)
    return await _shown(services, found)


async def list_certificate_cases(services: APIServices, call: Call[CertificatePath, Any, None]) -> Answer:
    """List the cases of a certificate that the caller may see, the oldest first."""
    named = (issuer_of(services, call.path.ca), int(call.path.serial, 16))
    found = await services.registration.cases.of_certificate(call.caller.acting, *named)
    return Answer(CaseList(items=await _cases(services, found), next=None))


async def list_person_cases(services: APIServices, call: Call[PersonPath, Any, None]) -> Answer:
    """List the cases of a holder that the caller may see, the oldest first."""
    found = await services.registration.cases.of_person(call.caller.acting, call.path.person)
    return Answer(CaseList(items=await _cases(services, found), next=None))


def _channel(call: Call[Any, Any, CaseRequest]) -> Channel:
    """Return how the caller asks: as the body says, or as the one role does that has a channel."""
    if call.body.channel is not None:
        return Channel(call.body.channel)
    roles = {one.role for one in call.caller.acting.assignments}
    open_to = [channel for channel in _ASKING if ROLES[channel] & roles]
    if len(open_to) != 1:
        raise RefusedError("say by which channel it was asked")
    return open_to[0]


def _new(
    services: APIServices,
    call: Call[CertificatePath, Any, Any],
    kind: Kind,
    channel: Channel,
    evidence: dict[str, str],
) -> NewCase:
    return NewCase(
        issuer_of(services, call.path.ca),
        int(call.path.serial, 16),
        kind,
        channel,
        call.body.ground,
        office=call.body.office,
        lifts=getattr(call.body, "lifts", None),
        evidence=evidence,
    )


async def _received(services: APIServices, call: Call[Any, Any, Any], new: NewCase) -> Answer:
    codes = {one.id: one.code for one in await services.registration.offices.in_order()}
    return await answered(
        CaseRecord,
        services.registration.cases.receive(call.caller.acting, new),
        lambda made: Answer(_case(services, made, codes), str(made.version)),
    )


async def _shown(services: APIServices, record: CaseRecord) -> Answer:
    (shown,) = await _cases(services, [record])
    return Answer(shown, str(record.version))


async def _cases(services: APIServices, records: Sequence[CaseRecord]) -> tuple[Case, ...]:
    offices = {one.office for one in records if one.office is not None}
    codes = await services.registration.offices.codes(offices)
    return tuple(_case(services, one, codes) for one in records)


def _case(services: APIServices, record: CaseRecord, codes: dict[int, str]) -> Case:
    values: dict[str, Any] = {
        name: getattr(record, name)
        for name in Case.model_fields
        if name not in ("case", "ca", "serial", "office", "evidence")
    }
    return Case(
        case=record.id,
        ca=services.authorities.record_with_id(record.authority).handle,
        serial=serial_text(record.serial),
        office=codes.get(record.office) if record.office is not None else None,
        evidence=Evidence(**json.loads(record.evidence)),
        **values,
    )


def _cursor(record: CaseRecord) -> str:
    return f"{to_unix(record.due_at)}-{record.id}"


def _place(cursor: str) -> tuple[datetime, int]:
    due_at, case = cursor.split("-")
    return from_unix(int(due_at)), int(case)


_OF_CERTIFICATE: Final = "/certificates/{ca}/{serial}/cases"
OPERATIONS: Final = (
    Operation(
        "listCases",
        "GET",
        "/cases",
        "List open cases",
        Action.READ_CASE,
        list_cases,
        CaseList,
        query=CaseSearch,
    ),
    Operation(
        "showCase",
        "GET",
        "/cases/{case}",
        "Show a case",
        Action.READ_CASE,
        show_case,
        Case,
        parameters=CasePath,
        shows_version=True,
    ),
    Operation(
        "listCertificateCases",
        "GET",
        _OF_CERTIFICATE,
        "List the cases of a certificate",
        Action.READ_CASE,
        list_certificate_cases,
        CaseList,
        parameters=CertificatePath,
    ),
    Operation(
        "listPersonCases",
        "GET",
        "/people/{person}/cases",
        "List the cases of a holder",
        Action.READ_CASE,
        list_person_cases,
        CaseList,
        parameters=PersonPath,
    ),
    Operation(
        "requestCase",
        "POST",
        _OF_CERTIFICATE,
        "Ask to suspend, restore, revoke or unblock",
        Action.REQUEST_CASE,
        request_case,
        Case,
        parameters=CertificatePath,
        body=CaseRequest,
        shows_version=True,
    ),
    Operation(
        "proposeRevocation",
        "POST",
        f"{_OF_CERTIFICATE}/against-will",
        "Propose a revocation against the holder's will",
        Action.REVOKE_AGAINST_WILL,
        propose_revocation,
        Case,
        parameters=CertificatePath,
        body=RevocationProposal,
        shows_version=True,
    ),
    Operation(
        "enterDecision",
        "POST",
        f"{_OF_CERTIFICATE}/decisions",
        "Enter an authority's decision",
        Action.ENTER_AUTHORITY_DECISION,
        enter_decision,
        Case,
        parameters=CertificatePath,
        body=AuthorityDecision,
        shows_version=True,
    ),
    Operation(
        "decideCase",
        "POST",
        "/cases/{case}/decide",
        "Grant or refuse a case",
        Action.DECIDE_CASE,
        decide_case,
        Case,
        parameters=CasePath,
        body=CaseDecision,
        versioned=True,
    ),
    Operation(
        "confirmDecision",
        "POST",
        "/cases/{case}/confirm",
        "Confirm or refuse an authority's decision that somebody else entered",
        Action.ENTER_AUTHORITY_DECISION,
        decide_case,
        Case,
        parameters=CasePath,
        body=CaseDecision,
        versioned=True,
    ),
)
