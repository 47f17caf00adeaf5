"""Cases: asked for by registrars, services and officers, entered of authorities' decisions, and decided."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pkiserver.errors import RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import ROLES, Channel, Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.case_messages import (
    AuthorityDecision,
    Case,
    CaseDecision,
    CaseList,
    CasePath,
    CaseRequest,
    CaseSearch,
    Evidence,
    RevocationProposal,
)
from pkiserver.web.api.certificates import CertificatePath, issuer_of
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    Answer,
    APIServices,
    Call,
    Operation,
)
from pkiserver.web.api.people import PersonPath
from protocols.x509.certificate import serial_text
from store.cases import CaseRecord
from store.records import from_unix, to_unix

_ASKING: Final = (Channel.WRITTEN, Channel.SELF_SERVICE, Channel.ORGANIZATION)


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
    return await answered(
        CaseRecord,
        services.registration.cases.receive(call.caller.acting, new),
        lambda made: Answer(_case(services, made, call.body.office), str(made.version)),
    )


async def _shown(services: APIServices, record: CaseRecord) -> Answer:
    (shown,) = await _cases(services, [record])
    return Answer(shown, str(record.version))


async def _cases(services: APIServices, records: Sequence[CaseRecord]) -> tuple[Case, ...]:
    offices = {one.office for one in records if one.office is not None}
    codes = await services.registration.offices.codes(offices)
    return tuple(
        _case(services, one, codes[one.office] if one.office is not None else None) for one in records
    )


def _case(services: APIServices, record: CaseRecord, office: str | None) -> Case:
    values: dict[str, Any] = {
        name: getattr(record, name)
        for name in Case.model_fields
        if name not in ("case", "ca", "serial", "office", "evidence")
    }
    return Case(
        case=record.id,
        ca=services.authorities.record_with_id(record.authority).handle,
        serial=serial_text(record.serial),
        office=office,
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
