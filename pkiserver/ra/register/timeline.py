"""The history of a person, or of a certificate, as one timeline; who reads it is on record first."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.people import found_person
from pkiserver.ra.registration.permissions import require
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import certificates
from store import timeline as rows
from store.database import Transaction
from store.records import from_unix, to_unix
from store.timeline import Place, TimelineEntry

CURSOR_PATTERN: Final = r"^[0-9]{1,11}-[0-9]-[0-9]{1,18}-[0-9]{1,9}$"
MAX_ENTRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry as it is shown."""

    at: datetime
    event: str
    actor: str | None
    ground: str | None
    note: str | None
    ca: str | None
    serial: str | None
    application: int | None
    case: int | None
    letter: int | None
    carrier: int | None


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Entries, the oldest first; `next` is where to go on, None at the end."""

    entries: Sequence[Happened]
    next: str | None


class Timelines:
    """Reads timelines. Applications and cases that the actor may not read are left out of them."""

    def __init__(self, storage: Storage, clock: Clock, authorities: Authorities, gate: Gate) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._gate = gate

    async def of_person(self, actor: Actor, person: int, after: str | None, limit: int) -> TimelinePage:
        """Return what happened to a person and their certificates; the reading is recorded with it."""
        place = _place(after)
        await self._gate.require(Permission(actor, Action.READ_PERSON, Target(holder=person)))

        def look(tx: Transaction) -> list[TimelineEntry]:
            found_person(tx, person)
            return rows.of_person(tx, person, place, _bounded(limit) + 1)

        found = await self._recorded(actor, "person.timeline", look, person=person)
        return self._page(actor, found, limit)

    async def of_certificate(
        self, actor: Actor, authority: int, serial: int, target: Target, after: str | None, limit: int
    ) -> TimelinePage:
        """Return what happened to a certificate that lies at `target`; the reading is recorded with it."""
        place = _place(after)
        await self._gate.require(Permission(actor, Action.READ_CERTIFICATE, target))

        def look(tx: Transaction) -> list[TimelineEntry]:
            if certificates.get(tx, authority, serial) is None:
                raise NotFoundError(f"no certificate with serial {serial_text(serial)}")
            return rows.of_certificate(tx, authority, serial, place, _bounded(limit) + 1)

        about = {"authority": authority, "serial": serial_text(serial)}
        return self._page(actor, await self._recorded(actor, "certificate.timeline", look, **about), limit)

    async def _recorded(
        self,
        actor: Actor,
        action: str,
        look: Callable[[Transaction], list[TimelineEntry]],
        **about: Any,
    ) -> list[TimelineEntry]:
        now = self._clock.now()

        def transaction(tx: Transaction) -> list[TimelineEntry]:
            found = look(tx)
            entry = audit.entry(now, actor.name, action, on_behalf_of=actor.on_behalf_of, **about)
            audit_chain.append(tx, entry)
            return found

        return await self._storage.write(transaction)

    def _page(self, actor: Actor, found: list[TimelineEntry], limit: int) -> TimelinePage:
        shown = found[: _bounded(limit)]
        more = len(found) > len(shown)
        return TimelinePage(
            [self._happened(one) for one in shown if _may_read(actor, one)],
            _cursor(shown[-1].place) if more else None,
        )

    def _happened(self, one: TimelineEntry) -> Happened:
        name = None if one.authority is None else self._authorities.record_with_id(one.authority).handle
        return Happened(
            one.place.at,
            one.event,
            one.actor,
            one.ground,
            one.note,
            name,
            serial_text(one.serial) if one.serial is not None else None,
            one.application,
            one.case,
            one.letter,
            one.carrier,
        )


# What takes a permission of its own, by how its events begin; all else comes with the timeline.
_OWN: Final = {"application": Action.READ_APPLICATION, "case": Action.READ_CASE}


def _may_read(actor: Actor, one: TimelineEntry) -> bool:
    action = _OWN.get(one.event.partition(".")[0])
    if action is None:
        return True
    target = Target(office=one.office, organization=one.organization, holder=one.holder)
    try:
        require(Permission(actor, action, target))
    except NotAuthorizedError:
        return False
    return True


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_ENTRIES))


def _cursor(place: Place) -> str:
    return f"{to_unix(place.at)}-{place.rank}-{place.row}-{place.part}"


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return rows.BEGIN
    if re.fullmatch(CURSOR_PATTERN, cursor, re.ASCII) is None:
        raise RefusedError("a timeline goes on behind the cursor that came with its last part")
    at, rank, row, part = map(int, cursor.split("-"))
    return Place(from_unix(at), rank, row, part)
