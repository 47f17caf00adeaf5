"""Commands of cases and letters. What takes a second person is decided over the API, not here."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pkiserver.commands.registration import office_worker
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, certificate_of
from pkiserver.errors import RefusedError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.cases.service import Decision
from protocols.x509.certificate import serial_text
from store import letters
from store.cases import CaseRecord
from store.letters import LetterRecord

_LETTER_STATES: Final = ("waiting", "sent", "given_up")


def _case(record: CaseRecord) -> dict[str, Any]:
    """Return a case as JSON values; the numbers of people and offices are those of their own commands."""
    return {
        "id": record.id,
        "kind": record.kind,
        "channel": record.channel,
        "ground": record.ground,
        "state": record.state,
        "version": record.version,
        "serial": serial_text(record.serial),
        "office": record.office,
        "person": record.person,
        "lifts": record.lifts,
        "evidence": json.loads(record.evidence),
        "received_at": record.received_at.isoformat(),
        "due_at": record.due_at.isoformat(),
        "entered_by": record.entered_by,
        "decided_at": _moment(record.decided_at),
        "decided_by": record.decided_by,
        "decision": record.decision,
    }


def _letter(record: LetterRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "about": record.about,
        "template": record.template,
        "medium": record.medium,
        "person": record.person,
        "state": record.state,
        "attempts": record.attempts,
        "created_at": record.created_at.isoformat(),
        "done_at": _moment(record.done_at),
        "failure": record.failure,
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


async def receive_case(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    serial: str,
    ca: str | None,
    kind: str,
    ground: str,
    office: str,
    evidence: dict[str, str],
) -> dict[str, Any]:
    if kind not in {one.value for one in Kind}:
        raise RefusedError(f"asked may be {', '.join(one.value for one in Kind)}")
    certificate = await certificate_of(services, serial, ca)
    new = NewCase(
        certificate.authority, certificate.serial, Kind(kind), Channel.WRITTEN, ground, office, None, evidence
    )
    return _case(await services.registration.cases.receive(office_worker(caller), new))


async def list_cases(
    services: CommandServices, caller: Caller, /, *, office: str | None, overdue: bool, limit: int
) -> list[dict[str, Any]]:
    until = services.clock.now() if overdue else None
    found = await services.registration.cases.urgent(
        office_worker(caller), office=office, until=until, limit=limit
    )
    return [_case(one) for one in found]


async def show_case(services: CommandServices, caller: Caller, /, *, case: int) -> dict[str, Any]:
    return _case(await services.registration.cases.show(office_worker(caller), case))


async def decide_case(
    services: CommandServices, caller: Caller, /, *, case: int, version: int, granted: bool, ground: str
) -> dict[str, Any]:
    decision = Decision(version, granted, ground)
    return _case(await services.registration.cases.decide(office_worker(caller), case, decision))


async def list_letters(
    services: CommandServices, _caller: Caller, /, *, state: str, before: int | None, limit: int
) -> list[dict[str, Any]]:
    if state not in _LETTER_STATES:
        raise RefusedError(f"a letter is {', '.join(_LETTER_STATES)}")
    found = await services.storage.read(lambda tx: letters.in_state(tx, state, before, limit))
    return [_letter(one) for one in found]


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "case.receive": CommandEntry(receive_case),
    "case.list": CommandEntry(list_cases, reading=True),
    "case.show": CommandEntry(show_case, reading=True),
    "case.decide": CommandEntry(decide_case),
    "letter.list": CommandEntry(list_letters, reading=True),
}
