"""Lists of officers become applications: all of a list or none, or row by row, and none of them twice.

A list is known by its octets. Sent again it goes on where it was cut off, and tries again what was refused;
a person with an open application of the organisation gets no second one, from whichever list.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError
from pkiserver.progress import Progress, silent
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.contacts import is_of_domain, name_key
from pkiserver.ra.registration.contracts import State
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.officer_form import PROFILE, OfficerForm
from pkiserver.ra.registration.officer_list import ListedOfficer, read_officers
from pkiserver.ra.registration.officers import MAX_OFFICERS
from pkiserver.ra.registration.organizations import found_organization
from pkiserver.ra.registration.people import APPLICATIONS, People
from pkiserver.ra.registration.permissions import is_own
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.positions import end_credentials
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import OPEN
from pkiserver.ra.registration.states import State as ApplicationState
from pkiserver.storage import Storage
from store import applications, organizations
from store import audit as audit_chain
from store import imports as rows
from store.database import Transaction
from store.imports import ImportRow
from store.organizations import OrganizationRecord
from store.records import AuditEntry

BATCH: Final = 50  # rows that share a transaction where each stands for itself
CHANNEL: Final = "list"
CARRIER: Final = "token"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a list is imported: `whole`, all rows or none; `dry_run`, only looked at."""

    whole: bool = True
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a list, a row a line; `carried_out` False: it was only looked at, nothing is kept."""

    organization: str
    sha256: str
    carried_out: bool
    rows: tuple[ImportRow, ...]

    def count(self, outcome: str) -> int:
        """Return how many lines came to this."""
        return sum(one.outcome == outcome for one in self.rows)

    def values(self) -> dict[str, Any]:
        """Return the report as JSON values; there is no personal data in it."""
        return {
            "organization": self.organization,
            "sha256": self.sha256,
            "carried_out": self.carried_out,
            **{outcome: self.count(outcome) for outcome in ("made", "known", "refused")},
            "rows": [
                {
                    "line": one.line,
                    "outcome": one.outcome,
                    "application": one.application,
                    "faults": [{"field": field, "problem": problem} for field, problem in one.faults],
                }
                for one in self.rows
            ],
        }


class _SomeRefusedError(Exception):
    """Rows are refused, and all were to be made or none: the transaction is undone."""

    def __init__(self, found: list[ImportRow]) -> None:
        super().__init__("rows are refused")
        self.found = found


@dataclass(frozen=True, slots=True)
class _List:
    """A list in work, and for whom by whom."""

    actor: Actor
    organization: OrganizationRecord
    sha256: bytes
    officers: tuple[ListedOfficer, ...]


class Imports:
    """Imports lists of officers."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        data: PersonalData,
        people: People,
        applications: Applications,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._people = people
        self._applications = applications

    async def run(
        self,
        actor: Actor,
        number: str,
        octets: bytes,
        options: ImportOptions,
        progress: Progress = silent,
    ) -> ImportReport:
        """Import an organisation's list; `ListError` where it is none, `ConflictError` without a contract.

        A row says of what it is about, `made` or `known` by which application, or why it was refused.
        """
        organization = await self._permitted(actor, number)
        day = today(self._clock.now())
        officers = await asyncio.to_thread(read_officers, octets, day)
        work = _List(actor, organization, hashlib.sha256(octets).digest(), officers)
        if options.dry_run:
            found, carried_out = await self._look(work), False
        elif options.whole:
            found, carried_out = await self._all_or_none(work)
        else:
            found, carried_out = await self._row_by_row(work, progress), True
        report = ImportReport(number, work.sha256.hex(), carried_out, tuple(found))
        if not options.dry_run:
            await self._storage.write(lambda tx: audit_chain.append(tx, self._entry(work, report)))
        return report

    async def _permitted(self, actor: Actor, number: str) -> OrganizationRecord:
        found = await self._storage.read(lambda tx: found_organization(tx, number))
        for action in (Action.MANAGE_OFFICERS, Action.APPLY):
            await self._gate.require(Permission(actor, action, Target(organization=found.id)))
        return found

    def _entry(self, work: _List, report: ImportReport) -> AuditEntry:
        return audit.entry(
            self._clock.now(),
            work.actor.name,
            "organization.import",
            "done" if report.carried_out else "refused",
            organization=work.organization.id,
            sha256=report.sha256,
            made=report.count("made"),
            known=report.count("known"),
            refused=report.count("refused"),
        )

    async def _look(self, work: _List) -> list[ImportRow]:
        def look(tx: Transaction) -> list[ImportRow]:
            self._require_room(tx, work, work.officers)
            known = rows.find(tx, work.organization.id, work.sha256)
            done = {} if known is None else rows.done(tx, known, _lines(work.officers))
            return [done.get(one.line) or self._examined(tx, work, one) for one in work.officers]

        return await self._storage.read(look)

    async def _all_or_none(self, work: _List) -> tuple[list[ImportRow], bool]:
        found = await self._look(work)  # outside of the one writer's time
        if any(one.outcome == "refused" for one in found):
            return found, False

        def transaction(tx: Transaction) -> list[ImportRow]:
            made = self._carry_out(tx, work, work.officers, self._clock.now())
            if any(one.outcome == "refused" for one in made):
                raise _SomeRefusedError(made)
            return made

        try:
            return await self._storage.write(transaction), True
        except _SomeRefusedError as refused:
            return refused.found, False

    async def _row_by_row(self, work: _List, progress: Progress) -> list[ImportRow]:
        found: list[ImportRow] = []
        total = len(work.officers)
        for begin in range(0, total, BATCH):
            batch = work.officers[begin : begin + BATCH]
            found += await self._batch(work, batch)
            progress("importing officers", len(found), total)
        return found

    async def _batch(self, work: _List, batch: Sequence[ListedOfficer]) -> list[ImportRow]:
        now = self._clock.now()
        return await self._storage.write(lambda tx: self._carry_out(tx, work, batch, now))

    def _carry_out(
        self, tx: Transaction, work: _List, officers: Sequence[ListedOfficer], now: datetime
    ) -> list[ImportRow]:
        self._require_room(tx, work, officers)
        import_id = rows.begin(
            tx, organization=work.organization.id, sha256=work.sha256, by=work.actor.name, now=now
        )
        done = rows.done(tx, import_id, _lines(officers))
        found = []
        for one in officers:
            row = done.get(one.line)
            if row is None:
                row = self._examined(tx, work, one)
                if row.outcome == "made" and one.form is not None:
                    row = replace(row, application=self._made(tx, work, one.form, now))
                rows.record(tx, import_id, row)
            found.append(row)
        return found

    def _require_room(self, tx: Transaction, work: _List, officers: Sequence[ListedOfficer]) -> None:
        organization = organizations.get(tx, work.organization.id)
        if organization is None or organization.state != State.CONTRACTED.value:
            raise ConflictError("the organisation has no contract: officers come with it")
        if organizations.count_officers(tx, organization.id) + len(officers) > MAX_OFFICERS:
            raise ConflictError(f"an organisation has at most {MAX_OFFICERS} officers")

    def _examined(self, tx: Transaction, work: _List, listed: ListedOfficer) -> ImportRow:
        """Return what is to become of a line; one that is to be made has no application yet."""
        form = listed.form
        if form is None:
            return ImportRow(
                listed.line, "refused", None, tuple((one.field, one.message) for one in listed.faults)
            )
        known = self._open_application(tx, work.organization.id, form)
        if known is not None:
            return ImportRow(listed.line, "known", known)
        fault = self._fault(tx, work, form)
        return ImportRow(listed.line, "refused" if fault else "made", None, (fault,) if fault else ())

    def _open_application(self, tx: Transaction, organization: int, form: OfficerForm) -> int | None:
        for row in self._data.find(tx, APPLICATIONS, "civil_id", form.civil_id):
            found = applications.get(tx, row)
            if found and found.organization == organization and ApplicationState(found.state) in OPEN:
                return found.id
        return None

    def _fault(self, tx: Transaction, work: _List, form: OfficerForm) -> tuple[str, str] | None:
        organization = work.organization.id
        if not any(is_of_domain(form.work_mail, one) for one in organizations.domains(tx, organization)):
            return "work_mail", "it is of none of the organisation's domains"
        if organizations.is_of_nearer_domain(tx, organization, form.work_mail):
            return "work_mail", "it is of another organisation's domain"
        if is_own(work.actor, self._people.whose(tx, work.actor, form.civil_id)):
            return "civil_id", "nobody applies for the own certificate"
        officer = _officer(tx, organization, form)
        if officer is not None and (officer.parent_name, officer.given_name) != _names(form):
            return "work_mail", "another officer of the organisation has it"
        return None

    def _made(self, tx: Transaction, work: _List, form: OfficerForm, now: datetime) -> int:
        added = applications.add(
            tx,
            office=None,
            organization=work.organization.id,
            officer=self._on_record(tx, work, form, now),
            channel=CHANNEL,
            carrier=CARRIER,
            profile=PROFILE,
            name_key=name_key(f"{form.given_name} {form.parent_name}"),
            now=now,
            by=work.actor.name,
        )
        return self._applications.begin(tx, added, form, work.actor, now).id

    def _on_record(self, tx: Transaction, work: _List, form: OfficerForm, now: datetime) -> int:
        """Return the officer, added where new; the position is the one in the list."""
        known = _officer(tx, work.organization.id, form)
        if known is not None and (known.title, known.unit) == (form.position, form.unit):
            return known.id
        parent_name, given_name = _names(form)
        officer = (
            known.id
            if known is not None
            else organizations.add_officer(
                tx,
                organization=work.organization.id,
                parent_name=parent_name,
                given_name=given_name,
                mail=form.work_mail,
                now=now,
            )
        )
        organizations.set_position(
            tx,
            officer=officer,
            title=form.position,
            unit=form.unit,
            actor=work.actor.name,
            ground=f"list {work.sha256.hex()[:16]}",
            now=now,
        )
        cancelled = end_credentials(tx, officer, work.actor.name, "the officer has another position", now)
        entry = audit.entry(
            now,
            work.actor.name,
            "officer.add" if known is None else "officer.position",
            organization=work.organization.id,
            officer=officer,
            cancelled=cancelled,
        )
        audit_chain.append(tx, entry)
        return officer


def _lines(officers: Sequence[ListedOfficer]) -> list[int]:
    return [one.line for one in officers]


def _names(form: OfficerForm) -> tuple[str, str]:
    return form.parent_name, form.given_name


def _officer(tx: Transaction, organization: int, form: OfficerForm) -> organizations.OfficerRecord | None:
    found = organizations.officer_with_mail(tx, organization, form.work_mail)
    return None if found is None else organizations.officer(tx, found)
