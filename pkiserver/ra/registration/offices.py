"""Offices where people apply, with the hours and days at which they work."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, ConflictError, NotFoundError, RefusedError
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.ra.registration.working_hours import Calendar
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import offices as rows
from store.database import Transaction
from store.offices import OfficeRecord

KINDS: Final = ("branch", "service_centre", "mission")  # regulation 2.1
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_WEEKDAYS: Final = re.compile(r"1?2?3?4?5?6?7?")
_HOUR: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
MAX_NAME_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class OfficeForm:
    """What is entered of an office; the hours are those of the domain unless others are given."""

    name: str
    kind: str = "branch"
    opens_at: str = "09:00"
    closes_at: str = "18:00"
    break_from: str = "13:00"
    break_to: str = "14:00"
    weekdays: str = "12345"


def time_of_day(minutes: int) -> str:
    """Return minutes after midnight as an `OfficeForm` has them: 09:00."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


class Offices:
    """Adds and changes offices, and the days on which one differs from its week."""

    def __init__(self, storage: Storage, clock: Clock, gate: Gate) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._codes: dict[int, str] = {}  # of the offices that were asked for

    async def add(self, actor: Actor, code: str, form: OfficeForm) -> OfficeRecord:
        """Add an office; `RefusedError`, or `ConflictError` where the code is in use."""
        if _CODE.fullmatch(code) is None:
            raise RefusedError("an office's code has up to 32 lower-case letters, digits and hyphens")
        row = _row(code, form)
        await self._gate.require(Permission(actor, Action.MANAGE_OFFICES))
        now = self._clock.now()

        def transaction(tx: Transaction) -> OfficeRecord:
            if rows.with_code(tx, code) is not None:
                raise ConflictError(f"there is an office {code} already")
            added = rows.add(tx, row)
            audit_chain.append(tx, audit.entry(now, actor.name, "office.add", office=added.id, code=code))
            return added

        return await self._storage.write(transaction)

    async def change(self, actor: Actor, code: str, seen_version: int, form: OfficeForm) -> OfficeRecord:
        """Set all of an office but its code; `ConflictError` where it was changed since it was seen."""
        row = _row(code, form)
        await self._gate.require(Permission(actor, Action.MANAGE_OFFICES))
        now = self._clock.now()

        def transaction(tx: Transaction) -> OfficeRecord:
            found = found_office(tx, code)
            if not rows.change(tx, replace(row, id=found.id, version=seen_version)):
                raise ChangedError(f"office {code} has changed since: it is at version {found.version}")
            entry = audit.entry(now, actor.name, "office.change", office=found.id, version=seen_version + 1)
            audit_chain.append(tx, entry)
            return found_office(tx, code)

        return await self._storage.write(transaction)

    async def set_day(self, actor: Actor, code: str, day: date, *, works: bool) -> None:
        """Say that an office works on a day, or does not, whatever the day of the week."""
        await self._gate.require(Permission(actor, Action.MANAGE_OFFICES))
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            found = found_office(tx, code)
            rows.set_day(tx, found.id, day.isoformat(), works=works)
            entry = audit.entry(
                now, actor.name, "office.day", office=found.id, day=day.isoformat(), works=works
            )
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)

    async def get(self, code: str) -> OfficeRecord:
        """Return the office of this code, or raise `NotFoundError`."""
        return await self._storage.read(lambda tx: found_office(tx, code))

    async def codes(self, offices: Iterable[int]) -> dict[int, str]:
        """Return the codes of offices by their numbers; both stay as they are, and are read once."""
        wanted = set(offices)
        unknown = wanted - self._codes.keys()
        if unknown:

            def look(tx: Transaction) -> dict[int, str]:
                found = [rows.get(tx, one) for one in unknown]
                return {one.id: one.code for one in found if one is not None}

            self._codes |= await self._storage.read(look, brief=True)
        return {one: self._codes[one] for one in wanted if one in self._codes}

    async def in_order(self) -> list[OfficeRecord]:
        """Return the offices by their codes; they are no secret."""
        return await self._storage.read(lambda tx: rows.in_order(tx, MAX_LIST))

    async def days(self, code: str, from_day: date, to_day: date) -> dict[date, bool]:
        """Return the days that differ from the week of an office, and whether it works on them."""
        found = await self._storage.read(
            lambda tx: rows.days(tx, found_office(tx, code).id, from_day.isoformat(), to_day.isoformat())
        )
        return {date.fromisoformat(day): works for day, works in found.items()}


def calendar_of(tx: Transaction, office: OfficeRecord, now: datetime, days: int) -> Calendar:
    """Return when an office works, with what differs within so many days from `now` on."""
    first = today(now)
    special = rows.days(tx, office.id, first.isoformat(), (first + timedelta(days=days)).isoformat())
    return Calendar(
        office.opens_at,
        office.closes_at,
        office.break_from,
        office.break_to,
        office.weekdays,
        {date.fromisoformat(day): works for day, works in special.items()},
    )


def found_office(tx: Transaction, code: str) -> OfficeRecord:
    """Return the office of this code or raise `NotFoundError`."""
    found = rows.with_code(tx, code)
    if found is None:
        raise NotFoundError(f"no office {code[:40]}; see `pkiserver office list`")
    return found


def _row(code: str, form: OfficeForm) -> OfficeRecord:
    """Return what is kept of a form; `RefusedError` where its hours are none."""
    if form.kind not in KINDS:
        raise RefusedError(f"an office is one of {', '.join(KINDS)}")
    if not form.weekdays or _WEEKDAYS.fullmatch(form.weekdays) is None:
        raise RefusedError("working days are digits in order, 1 is Monday: 12345")
    opens, closes = _minutes(form.opens_at), _minutes(form.closes_at)
    break_from, break_to = _minutes(form.break_from), _minutes(form.break_to)
    if not opens <= break_from <= break_to <= closes or break_to - break_from >= closes - opens:
        raise RefusedError("an office opens, has its break, and closes, in this order, and works between")
    name = parse_line(form.name, MAX_NAME_CHARACTERS)
    return OfficeRecord(0, code, name, form.kind, opens, closes, break_from, break_to, form.weekdays, 0)


def _minutes(text: str) -> int:
    if _HOUR.fullmatch(text) is None:
        raise RefusedError("a time of day is written as 09:00")
    moment = time.fromisoformat(text)
    return moment.hour * 60 + moment.minute
