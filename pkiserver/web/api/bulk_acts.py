"""Bulk acts: proposed about very many certificates, confirmed by a second person, followed and stopped."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.errors import RefusedError
from pkiserver.ra.bulk.acts import NewAct
from pkiserver.ra.bulk.rules import State
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.case_messages import Evidence, Line
from pkiserver.web.api.certificates import issuer_of
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Moment,
    Number,
    NumberCursor,
    Operation,
    Parameters,
)
from pkiserver.web.api.organizations import OrganizationNumber
from protocols.x509.certificate import serial_text
from store.bulk_acts import ActRecord

MAX_SERIALS: Final = 1_000  # of a body: 40 KiB; for more, say whose or which authority's
StateName = Literal["proposed", "running", "stopped", "done", "refused"]
KindName = Literal["suspend", "restore", "revoke"]
CAName = Annotated[str, Field(min_length=1, max_length=63, description="The name of an authority.")]
Serial = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{1,32}$", description="In hexadecimal.")]


class BulkActPath(Parameters):
    """A bulk act by its number."""

    act: Number


class BatchPath(BulkActPath):
    """A batch of a bulk act, counted from 1."""

    batch: Number


class BulkActSearch(Parameters):
    """Which acts."""

    state: StateName | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class BulkActProposal(Message):
    """What is to be done to which certificates, and why: those of an organisation, of `ca`, or by `serials`.

    `ca` alone: all that it issued, with `profile`, `issued_from` and `issued_until` (excluded) fewer. With
    `serials`: those of them that `ca` issued. `lifts`: to restore, the bulk act that suspended them.
    An authority's decision is named by `body`, `number`, `date` and `document` (regulation 3.3).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "suspend",
                    "ground": "key_compromised",
                    "ca": "citizen",
                    "profile": "citizen-signature",
                    "issued_until": "2026-07-01T00:00:00Z",
                    "letter": "CERT/MN 2026/4",
                }
            ]
        }
    )

    kind: KindName
    ground: Literal[
        "key_compromised",
        "authority_decision",
        "cause_gone",
        "forged_documents",
        "duties_breached",
        "contract_ended",
    ]
    organization: OrganizationNumber | None = None
    ca: CAName | None = None
    profile: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    issued_from: Annotated[Moment, Field(strict=False)] | None = None
    issued_until: Annotated[Moment, Field(strict=False)] | None = None
    serials: Annotated[tuple[Serial, ...], Field(max_length=MAX_SERIALS, strict=False)] = ()
    lifts: Number | None = None
    body: Line | None = None
    number: Line | None = None
    date: Line | None = None
    document: Line | None = None
    letter: Line | None = None


class BulkAct(Message):
    """A bulk act. `certificates` were found in `batches`; `done` of these are carried out.

    `sha256` is over authority (8 octets) and serials (16 octets each) of each batch, in order.
    """

    act: int
    kind: KindName
    ground: str
    state: StateName
    version: int
    lifts: int | None
    selection: dict[str, Any]
    evidence: Evidence
    certificates: int
    batches: int
    sha256: str
    done: int
    changed: int
    passed_over: int
    proposed_at: datetime
    proposed_by: str
    decided_at: datetime | None
    decided_by: str | None
    finished_at: datetime | None


class BulkActList(Message):
    """A page of bulk acts, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[BulkAct, ...]
    next: str | None


class BulkBatch(Message):
    """The certificates of a batch."""

    ca: str
    serials: tuple[str, ...]


async def propose_bulk_act(services: APIServices, call: Call[Any, Any, BulkActProposal]) -> Answer:
    """Propose a bulk act; the answer says how many certificates it is about."""
    body = call.body
    said = {name: getattr(body, name) for name in ("body", "number", "date", "document", "letter")}
    evidence = {name: text for name, text in said.items() if text is not None}
    new = NewAct(Kind(body.kind), body.ground, _selection(services, body), evidence)
    return await answered(
        ActRecord,
        services.registration.bulk_acts.propose(call.caller.acting, new),
        lambda made: Answer(_act(made), str(made.version)),
    )


async def list_bulk_acts(services: APIServices, call: Call[Any, BulkActSearch, None]) -> Answer:
    """List bulk acts, the newest first."""
    query = call.query
    found = await services.registration.bulk_acts.newest(
        call.caller.acting,
        state=None if query.state is None else State(query.state),
        before=None if query.after is None else int(query.after),
        limit=query.limit + 1,
    )
    more = str(found[query.limit - 1].id) if len(found) > query.limit else None
    return Answer(BulkActList(items=tuple(_act(one) for one in found[: query.limit]), next=more))


async def show_bulk_act(services: APIServices, call: Call[BulkActPath, Any, None]) -> Answer:
    """Show a bulk act and how far it is."""
    found = await services.registration.bulk_acts.show(call.caller.acting, call.path.act)
    return Answer(_act(found), str(found.version))


async def show_bulk_batch(services: APIServices, call: Call[BatchPath, Any, None]) -> Answer:
    """Show the certificates of one batch of a bulk act."""
    path, acts = call.path, services.registration.bulk_acts
    authority, serials = await acts.serials(call.caller.acting, path.act, path.batch)
    name = services.authorities.record_with_id(authority).handle
    return Answer(BulkBatch(ca=name, serials=tuple(serial_text(one) for one in serials)))


async def confirm_bulk_act(services: APIServices, call: Call[BulkActPath, Any, None]) -> Answer:
    """Begin what somebody else proposed."""
    return await _moved(call, services.registration.bulk_acts.confirm)


async def refuse_bulk_act(services: APIServices, call: Call[BulkActPath, Any, None]) -> Answer:
    """End a proposal without doing it."""
    return await _moved(call, services.registration.bulk_acts.refuse)


async def stop_bulk_act(services: APIServices, call: Call[BulkActPath, Any, None]) -> Answer:
    """Stop a bulk act between two batches; what is done stays done."""
    return await _moved(call, services.registration.bulk_acts.stop)


async def resume_bulk_act(services: APIServices, call: Call[BulkActPath, Any, None]) -> Answer:
    """Go on with a bulk act that was stopped."""
    return await _moved(call, services.registration.bulk_acts.resume)


async def _moved(call: Call[BulkActPath, Any, None], move: Any) -> Answer:
    deed = move(call.caller.acting, call.path.act, seen_number(call.seen))
    return await answered(ActRecord, deed, lambda moved: Answer(_act(moved), str(moved.version)))


def _selection(services: APIServices, body: BulkActProposal) -> Selection:
    issuers = () if body.ca is None else tuple(services.authorities.ids(body.ca))
    if body.serials:
        if body.ca is None:
            raise RefusedError("of which authority these certificates are is said by ca")
        issuer = issuer_of(services, body.ca)
        named = tuple((issuer, int(serial, 16)) for serial in body.serials)
        if any(serial >= 1 << 127 for _, serial in named):
            raise RefusedError("a serial number is out of range")
        return Selection(named=named, lifts=body.lifts, organization=body.organization)
    return Selection(
        organization=body.organization,
        issuer=issuers,
        profile=body.profile,
        issued_from=body.issued_from,
        issued_until=body.issued_until,
        lifts=body.lifts,
    )


def _act(record: ActRecord) -> BulkAct:
    values: dict[str, Any] = {
        name: getattr(record, name)
        for name in BulkAct.model_fields
        if name not in ("act", "selection", "evidence", "sha256")
    }
    return BulkAct(
        act=record.id,
        selection=json.loads(record.selection),
        evidence=Evidence(**json.loads(record.evidence)),
        sha256=record.sha256.hex(),
        **values,
    )


def _step(name: str, path: str, summary: str, handle: Any) -> Operation:
    return Operation(
        name,
        "POST",
        f"/bulk-acts/{{act}}/{path}",
        summary,
        Action.BULK_ACT,
        handle,
        BulkAct,
        parameters=BulkActPath,
        versioned=True,
    )


OPERATIONS: Final = (
    Operation(
        "listBulkActs",
        "GET",
        "/bulk-acts",
        "List bulk acts",
        Action.READ_BULK_ACT,
        list_bulk_acts,
        BulkActList,
        query=BulkActSearch,
    ),
    Operation(
        "proposeBulkAct",
        "POST",
        "/bulk-acts",
        "Propose to suspend, restore or revoke very many certificates",
        Action.BULK_ACT,
        propose_bulk_act,
        BulkAct,
        body=BulkActProposal,
        shows_version=True,
    ),
    Operation(
        "showBulkAct",
        "GET",
        "/bulk-acts/{act}",
        "Show a bulk act",
        Action.READ_BULK_ACT,
        show_bulk_act,
        BulkAct,
        parameters=BulkActPath,
        shows_version=True,
    ),
    Operation(
        "showBulkBatch",
        "GET",
        "/bulk-acts/{act}/batches/{batch}",
        "Show the certificates of a batch of a bulk act",
        Action.READ_BULK_ACT,
        show_bulk_batch,
        BulkBatch,
        parameters=BatchPath,
    ),
    _step("confirmBulkAct", "confirm", "Begin what somebody else proposed", confirm_bulk_act),
    _step("refuseBulkAct", "refuse", "End a proposal without doing it", refuse_bulk_act),
    _step("stopBulkAct", "stop", "Stop a bulk act between two batches", stop_bulk_act),
    _step("resumeBulkAct", "resume", "Go on with a bulk act that was stopped", resume_bulk_act),
)
