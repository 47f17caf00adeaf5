"""Enrolments that await approval: search, look at one, approve, refuse."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.bounds import MAX_NUMBER
from pkiserver.errors import NotAuthorizedError, NotFoundError
from pkiserver.ra.approval import MAX_REASON_CHARACTERS, standing
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.certificates import owners, target_of
from pkiserver.web.api.conditions import require_seen
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Number,
    NumberCursor,
    Operation,
    Parameters,
)
from protocols.x509.certificate import serial_text
from store import applications, enrollments
from store.enrollments import Decision
from store.records import EnrollmentRecord

EnrollmentState = Literal["waiting", "approved", "refused", "issued", "expired"]


class EnrollmentPath(Parameters):
    """An enrolment by its number."""

    enrollment: Number


class EnrollmentSearch(Parameters):
    """What to look for."""

    state: EnrollmentState | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class EnrollmentRefusal(Message):
    """Why an enrolment is refused: one line, which the client reads."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "gate 8 stands elsewhere"}]})

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARACTERS)]


class Enrollment(Message):
    """An enrolment. `serial` is that of the certificate that came of it, `reason` that of a refusal."""

    enrollment: int
    state: EnrollmentState
    ca: str
    profile: str
    subject: str
    san: tuple[str, ...]
    limit_mnt: int | None
    key_sha256: str
    asked_by: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    serial: str | None


class EnrollmentList(Message):
    """A page of enrolments, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Enrollment, ...]
    next: str | None


async def list_enrollments(services: APIServices, call: Call[Any, EnrollmentSearch, None]) -> Answer:
    """Search the enrolments that the caller may see."""
    query, now = call.query, services.clock.now()
    seen = owners(services, call.caller, Action.READ_ENROLLMENT)
    before = MAX_NUMBER if query.after is None else int(query.after)
    found = await services.storage.read(
        lambda tx: enrollments.page(tx, query.state, seen, now, before, query.limit + 1)
    )
    items = tuple(_message(services, one) for one in found[: query.limit])
    more = len(found) > query.limit
    return Answer(EnrollmentList(items=items, next=str(items[-1].enrollment) if more else None))


async def show_enrollment(services: APIServices, call: Call[EnrollmentPath, Any, None]) -> Answer:
    """Show one enrolment."""
    return _answer(services, await _enrollment(services, call, Action.READ_ENROLLMENT))


async def approve(services: APIServices, call: Call[EnrollmentPath, Any, None]) -> Answer:
    """Approve an enrolment; its client gets the certificate when it asks again."""
    return await _decide(services, call, "approved", None)


async def refuse(services: APIServices, call: Call[EnrollmentPath, Any, EnrollmentRefusal]) -> Answer:
    """Refuse an enrolment, or take its approval back while there is no certificate."""
    return await _decide(services, call, "refused", call.body.reason)


async def _decide(
    services: APIServices, call: Call[EnrollmentPath, Any, Any], decision: Decision, reason: str | None
) -> Answer:
    found = await _enrollment(services, call, Action.DECIDE_ENROLLMENT)
    await _require_other(services, call, found)
    stands = standing(found, services.clock.now())
    require_seen(call.seen, _version(found.id, stands))
    decided = await services.approvals.decide(found.id, decision, call.caller.actor, reason, seen=stands)
    return _answer(services, decided)


async def _require_other(
    services: APIServices, call: Call[EnrollmentPath, Any, Any], found: EnrollmentRecord
) -> None:
    """Refuse to decide on what the caller asked for with the own certificate, or applied for as a person.

    Over EST and CMP nobody is an actor: who asked is named by what they showed.
    """
    kind, _, shown = found.asked_by.partition(":")
    caller = call.caller
    own = kind == "certificate" and shown == serial_text(caller.certificate.serial)
    if kind == "credential" and caller.acting.person is not None:
        person = await services.storage.read(lambda tx: applications.holder_of_credential(tx, shown))
        own = person == caller.acting.person
    if own:
        raise NotAuthorizedError(f"enrolment {found.id} is your own: somebody else decides on it")


async def _enrollment(
    services: APIServices, call: Call[EnrollmentPath, Any, Any], action: Action
) -> EnrollmentRecord:
    """Return the enrolment of the path; `NotAuthorizedError` where the caller may not do this to it."""
    number = call.path.enrollment
    found = await services.storage.read(lambda tx: enrollments.get(tx, number))
    if found is None:
        raise NotFoundError(f"there is no enrolment {number}")
    call.caller.require(action, target_of(services, found.authority, found.profile))
    return found


def _answer(services: APIServices, record: EnrollmentRecord) -> Answer:
    shown = _message(services, record)
    return Answer(shown, _version(shown.enrollment, shown.state))


def _version(enrollment: int, state: str) -> str:
    return f"{enrollment}-{state}"  # no state is ever reached twice


def _message(services: APIServices, record: EnrollmentRecord) -> Enrollment:
    return Enrollment(
        enrollment=record.id,
        state=standing(record, services.clock.now()),
        ca=services.authorities.record_with_id(record.authority).name,
        profile=record.profile,
        subject=record.subject,
        san=record.san,
        limit_mnt=record.limit_mnt,
        key_sha256=record.spki_sha256.hex(),
        asked_by=record.asked_by,
        requested_at=record.requested_at,
        expires_at=record.expires_at,
        decided_by=record.decided_by,
        decided_at=record.decided_at,
        reason=record.reason,
        serial=None if record.serial is None else serial_text(record.serial),
    )


OPERATIONS: Final = (
    Operation(
        "listEnrollments",
        "GET",
        "/enrollments",
        "Search enrolments",
        Action.READ_ENROLLMENT,
        list_enrollments,
        EnrollmentList,
        query=EnrollmentSearch,
    ),
    Operation(
        "showEnrollment",
        "GET",
        "/enrollments/{enrollment}",
        "Show an enrolment",
        Action.READ_ENROLLMENT,
        show_enrollment,
        Enrollment,
        parameters=EnrollmentPath,
        shows_version=True,
    ),
    Operation(
        "approveEnrollment",
        "POST",
        "/enrollments/{enrollment}/approve",
        "Approve an enrolment of somebody else",
        Action.DECIDE_ENROLLMENT,
        approve,
        Enrollment,
        parameters=EnrollmentPath,
        versioned=True,
    ),
    Operation(
        "refuseEnrollment",
        "POST",
        "/enrollments/{enrollment}/refuse",
        "Refuse an enrolment of somebody else",
        Action.DECIDE_ENROLLMENT,
        refuse,
        Enrollment,
        parameters=EnrollmentPath,
        body=EnrollmentRefusal,
        versioned=True,
    ),
)
