"""Cases: received, decided and carried out. A decision and what it does to the certificate are one commit."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, ConflictError, NotAuthorizedError, NotFoundError
from pkiserver.ra.cases.entry import (
    MAX_EVIDENCE_CHARACTERS,
    NewCase,
    Place,
    evidence_text,
    office_of,
    place_of,
    require_admissible,
)
from pkiserver.ra.cases.rules import GROUNDS, Channel, Kind, asking, needs_second, rule_for
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.lifecycle import Action as StatusAction
from pkiserver.ra.lifecycle import Command
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.permissions import decide as permitted
from pkiserver.ra.registration.permissions import may_anywhere, reach
from pkiserver.ra.registration.roles import Action, Actor, Approval, Assignment, Permission, Role, Target
from pkiserver.ra.status_changes import change_status
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import cases as rows
from store.cases import CaseRecord, NewCaseRecord, Scope
from store.database import Transaction

_STATUS_ACTIONS: Final = {
    Kind.SUSPEND: StatusAction.SUSPEND,
    Kind.RESTORE: StatusAction.RESTORE,
    Kind.REVOKE: StatusAction.REVOKE,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a case, seen at a version, and why."""

    seen_version: int
    granted: bool
    ground: str


@dataclass(frozen=True, slots=True)
class Entered:
    """A case as a transaction leaves it, and the number of the event that it led to."""

    case: CaseRecord
    sequence: int | None = None


class Cases:
    """Receives and decides; `on_event` is awaited after a commit that changed a certificate's status."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        notices: Notices,
        subscribers: Collection[str],
        on_event: OnEvent,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._notices = notices
        self._subscribers = subscribers
        self._on_event = on_event

    async def receive(self, actor: Actor, new: NewCase) -> CaseRecord:
        """Enter a case; one by self-service, or of the civil registry, is decided with it.

        The same asked again, while it is open, gives the case that there is. Raises `RefusedError` for what
        the tables do not know, `NotFoundError`, `NotAuthorizedError`, and `ConflictError` where the
        certificate's state does not allow what carries itself out.
        """
        rule_for(new.kind, new.channel, new.ground)
        evidence = evidence_text(new)
        now = self._clock.now()
        acting = asking(actor, new.channel)
        place = await self._storage.read(lambda tx: place_of(tx, new, now))
        granted = await self._gate.granted(Permission(acting, _to_enter(new), place.target))

        def transaction(tx: Transaction) -> Entered:
            require_admissible(tx, new, self._subscribers)
            return self.enter(tx, _record(new, evidence, place, acting, granted.role, now))

        return await self._written(transaction)

    def enter(self, tx: Transaction, new: NewCaseRecord) -> Entered:
        """Enter a case in the caller's transaction, who asked the permission table, and tells of it after."""
        same = rows.open_like(tx, new.authority, new.serial, new.kind, new.channel, new.lifts)
        if same is not None:
            return Entered(same)
        added = rows.add(tx, new)
        _audit(tx, "case.receive", added, new.entered_by, new.received_at, due_at=added.due_at.isoformat())
        if not rule_for(Kind(new.kind), Channel(new.channel), new.ground).deadline.at_once:
            return Entered(added)
        by_itself = Decision(added.version, True, "carries itself out")
        return self.carry_out(tx, added, by_itself, new.entered_by, new.received_at)

    def told_by_registry(
        self, tx: Transaction, new: NewCase, actor: Actor, role: Role, now: datetime
    ) -> Entered:
        """Enter what the civil registry tells of a certificate, as `enter` does."""
        require_admissible(tx, new, self._subscribers)
        return self.enter(tx, _record(new, evidence_text(new), place_of(tx, new, now), actor, role, now))

    async def decide(self, actor: Actor, case: int, decision: Decision) -> CaseRecord:
        """Grant or refuse a case; what is granted is done in the same commit.

        `ChangedError` where it was changed since it was seen, `ConflictError` where it is decided already, or
        the certificate's state does not allow it; `NotAuthorizedError` also where a second person is needed
        and this is the first.
        """
        ground = parse_line(decision.ground, MAX_EVIDENCE_CHARACTERS)
        found = await self._storage.read(lambda tx: _found(tx, case))
        await self._gate.require(_to_decide(actor, found), by=actor)
        now = self._clock.now()

        def transaction(tx: Transaction) -> Entered:
            current = _found(tx, case)
            if current.version != decision.seen_version:
                raise ChangedError(f"the case is at version {current.version}: look at it again")
            decided = Decision(decision.seen_version, decision.granted, ground)
            return self.carry_out(tx, current, decided, actor.name, now)

        return await self._written(transaction)

    async def show(self, actor: Actor, case: int) -> CaseRecord:
        """Return a case; whoever may ask for or decide cases there may see it, and auditors."""
        found = await self._storage.read(lambda tx: _found(tx, case))
        await self._gate.require(Permission(actor, Action.READ_CASE, _target(found)))
        return found

    async def urgent(
        self,
        actor: Actor,
        *,
        office: str | None = None,
        until: datetime | None = None,
        after: tuple[datetime, int] | None = None,
        limit: int = 100,
    ) -> list[CaseRecord]:
        """Return open cases, the most urgent first; `after` is (due_at, id) of the last one seen.

        Without an office those that the actor may see: of own offices or organisations, or of the holder.
        """
        place = await self._storage.read(lambda tx: office_of(tx, office))
        scope = _scope(actor)
        if place is not None:
            target = Target(office=place.id, holder=scope.person)
            await self._gate.require(Permission(actor, Action.READ_CASE, target))
            scope = replace(scope, office=place.id)
        may_anywhere(actor, Action.READ_CASE)
        bound = max(1, min(limit, MAX_LIST))
        return await self._storage.read(
            lambda tx: rows.open_by_due(tx, scope, until=until, after=after, limit=bound)
        )

    async def of_certificate(self, actor: Actor, authority: int, serial: int) -> list[CaseRecord]:
        """Return the cases of a certificate that the actor may see, the oldest first."""
        may_anywhere(actor, Action.READ_CASE)
        found = await self._storage.read(lambda tx: rows.of_certificate(tx, authority, serial, MAX_LIST))
        return [one for one in found if _may_see(actor, one)]

    async def of_person(self, actor: Actor, person: int) -> list[CaseRecord]:
        """Return the cases of a holder that the actor may see, the oldest first."""
        may_anywhere(actor, Action.READ_CASE)
        found = await self._storage.read(lambda tx: rows.of_person(tx, person, MAX_LIST))
        return [one for one in found if _may_see(actor, one)]

    def carry_out(
        self, tx: Transaction, case: CaseRecord, decision: Decision, actor: str, now: datetime
    ) -> Entered:
        """Decide a case in the caller's transaction, who asked the table, and tells of it after."""
        if not rows.decide(
            tx,
            case.id,
            decision.seen_version,
            state="granted" if decision.granted else "refused",
            at=now,
            by=actor,
            decision=decision.ground,
        ):
            raise ConflictError(f"the case is {case.state} and at version {case.version}: look at it again")
        decided = _found(tx, case.id)
        _audit(tx, f"case.{decided.state}", decided, actor, now, why=decision.ground)
        command = _command(decided)
        if not decision.granted or command is None:
            return Entered(decided)
        changed = change_status(tx, case.authority, case.serial, command, actor, now, case=case.id)
        self._notices.of_change(tx, changed, case.person, case.ground, now)
        return Entered(decided, changed.sequence)

    async def tell(self, sequence: int) -> None:
        """Tell of an event of a case once it is on disk."""
        await self._on_event(sequence)

    async def _written(self, work: Callable[[Transaction], Entered]) -> CaseRecord:
        """Return the case as a transaction leaves it, which the answer over the API is made of, and tell."""
        sequences: list[int | None] = []

        def transaction(tx: Transaction) -> CaseRecord:
            entered = work(tx)
            sequences[:] = [entered.sequence]
            return entered.case

        case = await self._storage.write(transaction)
        for sequence in sequences:
            if sequence is not None:
                await self.tell(sequence)
        return case


def _scope(actor: Actor) -> Scope:
    reached = reach(actor, Action.READ_CASE)
    if reached.everything:
        return Scope()
    return Scope(
        everything=False,
        every_office=reached.every_office,
        offices=reached.offices,
        every_organization=reached.every_organization,
        organizations=reached.organizations,
        person=reached.holder,
    )


def _may_see(actor: Actor, case: CaseRecord) -> bool:
    try:
        permitted(Permission(actor, Action.READ_CASE, _target(case)))
    except NotAuthorizedError:
        return False
    return True


def _command(case: CaseRecord) -> Command | None:
    """Return what a granted case does to the certificate; None: nothing, as it unblocks a carrier."""
    kind, channel = Kind(case.kind), Channel(case.channel)
    if kind is Kind.UNBLOCK:
        return None
    rule = rule_for(kind, channel, case.ground)
    decision = case.lifts if kind is Kind.RESTORE else case.id
    return Command(
        _STATUS_ACTIONS[kind],
        rule.owner,
        GROUNDS[case.ground].reason,
        decision=decision if rule.owner.value == "authority" else None,
    )


def _to_enter(new: NewCase) -> Action:
    if new.channel is Channel.AUTHORITY:
        return Action.ENTER_AUTHORITY_DECISION
    if needs_second(new.kind, new.channel, new.ground):
        return Action.REVOKE_AGAINST_WILL
    return Action.FEED_REGISTRY if new.channel is Channel.CIVIL_REGISTRY else Action.REQUEST_CASE


def _to_decide(actor: Actor, case: CaseRecord) -> Permission:
    """Return what the permission table is asked: with the first person's role where a second one decides."""
    kind, channel = Kind(case.kind), Channel(case.channel)
    if not needs_second(kind, channel, case.ground):
        return Permission(actor, Action.DECIDE_CASE, _target(case))
    first = Actor(
        case.entered_by,
        (Assignment(Role(case.entered_role), office=case.office),),
        person=case.entered_person,
    )
    action = Action.ENTER_AUTHORITY_DECISION if channel is Channel.AUTHORITY else Action.REVOKE_AGAINST_WILL
    return Permission(first, action, _target(case), Approval(actor, case.version))


def _target(case: CaseRecord) -> Target:
    return Target(
        office=case.office, organization=case.organization, holder=case.person, version=case.version
    )


def _found(tx: Transaction, case: int) -> CaseRecord:
    found = rows.get(tx, case)
    if found is None:
        raise NotFoundError(f"no case {case}; see `pkiserver case list`")
    return found


def _record(
    new: NewCase, evidence: str, place: Place, actor: Actor, role: Role, now: datetime
) -> NewCaseRecord:
    deadline = rule_for(new.kind, new.channel, new.ground).deadline
    return NewCaseRecord(
        kind=new.kind.value,
        channel=new.channel.value,
        ground=new.ground,
        authority=new.authority,
        serial=new.serial,
        office=place.target.office,
        person=place.target.holder,
        organization=place.target.organization,
        lifts=new.lifts,
        evidence=evidence,
        received_at=now,
        due_at=deadline.after(now, place.calendar),
        entered_by=actor.name,
        entered_role=role.value,
        entered_person=actor.person,
    )


def _audit(tx: Transaction, event: str, case: CaseRecord, actor: str, now: datetime, **more: Any) -> None:
    entry = audit.entry(
        now,
        actor,
        event,
        case=case.id,
        kind=case.kind,
        channel=case.channel,
        ground=case.ground,
        authority=case.authority,
        serial=serial_text(case.serial),
        **more,
    )
    audit_chain.append(tx, entry)
