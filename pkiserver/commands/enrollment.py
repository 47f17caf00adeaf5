"""Commands on enrolments that await approval."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pkiserver.bounds import MAX_LIST, MAX_NUMBER
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, parse_after
from pkiserver.errors import NotFoundError, RefusedError
from pkiserver.ra.approval import standing
from protocols.x509.certificate import serial_text
from store import enrollments
from store.records import EnrollmentRecord


async def list_enrollments(
    services: CommandServices, _caller: Caller, /, *, state: str | None, limit: int, after: str | None = None
) -> list[dict[str, Any]]:
    last = parse_after(after)
    if state is not None and state not in enrollments.STATES:
        raise RefusedError(f"no state {state[:60]!r}: there are {', '.join(enrollments.STATES)}")
    limit, now = max(1, min(limit, MAX_LIST)), services.clock.now()
    found = await services.storage.read(lambda tx: enrollments.with_state(tx, state, now, limit, last))
    return [_summary(record, now) for record in found]


async def show_enrollment(
    services: CommandServices, _caller: Caller, /, *, enrollment: int
) -> dict[str, Any]:
    _require_number(enrollment)
    found = await services.storage.read(lambda tx: enrollments.get(tx, enrollment))
    if found is None:
        raise NotFoundError(f"no enrolment {enrollment}; see `pkiserver enrollment list`")
    return _full(services, found)


async def approve(services: CommandServices, caller: Caller, /, *, enrollment: int) -> dict[str, Any]:
    _require_number(enrollment)
    return _full(services, await services.approvals.decide(enrollment, "approved", caller.actor, None))


async def refuse(
    services: CommandServices, caller: Caller, /, *, enrollment: int, reason: str
) -> dict[str, Any]:
    _require_number(enrollment)
    return _full(services, await services.approvals.decide(enrollment, "refused", caller.actor, reason))


def _require_number(enrollment: int) -> None:
    if not 0 < enrollment <= MAX_NUMBER:
        raise NotFoundError("no enrolment has such a number")


def _summary(record: EnrollmentRecord, now: datetime) -> dict[str, Any]:
    return {
        "enrollment": record.id,
        "state": standing(record, now),
        "profile": record.profile,
        "asked_by": record.asked_by,
        "requested_at": record.requested_at.isoformat(),
        "subject": record.subject,
    }


def _full(services: CommandServices, record: EnrollmentRecord) -> dict[str, Any]:
    return _summary(record, services.clock.now()) | {
        "ca": services.authorities.record_with_id(record.authority).name,
        "san": ", ".join(record.san) or None,
        "limit_mnt": record.limit_mnt,
        "key_sha256": record.spki_sha256.hex(),
        "expires_at": record.expires_at.isoformat(),
        "decided_by": record.decided_by,
        "decided_at": record.decided_at.isoformat() if record.decided_at else None,
        "reason": record.reason,
        "serial": serial_text(record.serial) if record.serial is not None else None,
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "enrollment.list": CommandEntry(list_enrollments, reading=True),
    "enrollment.show": CommandEntry(show_enrollment, reading=True),
    "enrollment.approve": CommandEntry(approve),
    "enrollment.refuse": CommandEntry(refuse),
}
