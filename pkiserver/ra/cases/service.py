"""Cases: received, decided and carried out. A decision and what it does to the certificate are one commit."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.ra.cases.entry import (
    MAX_EVIDENCE_CHARACTERS,
    NewCase,
    Place,
    evidence_text,
    office_of,
    place_of,
)
from pkiserver.ra.cases.rules import ENTERED_BY, GROUNDS, Channel, Kind, needs_second, rule_for
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.lifecycle import Action as StatusAction
from pkiserver.ra.lifecycle import Command
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.roles import (
    Action,
    Actor,
    Approval,
    Assignment,
    Granted,
    Permission,
    Role,
    Target,
)
from pkiserver.ra.status_changes import change_status
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import cases as rows
from store.cases import CaseRecord, NewCaseRecord
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
        rule = rule_for(new.kind, new.channel, new.ground)
        evidence = evidence_text(new)
        now = self._clock.now()
        place = await self._storage.read(lambda tx: place_of(tx, new, now, self._subscribers))
        granted = await self._gate.granted(Permission(_entering(actor, new), _to_enter(new), place.target))

        def transaction(tx: Transaction) -> tuple[CaseRecord, int | None]:
            same = rows.open_like(tx, new.authority, new.serial, new.kind.value, new.channel.value, new.lifts)
            if same is not None:
                return same, None
            added = rows.add(tx, _record(new, evidence, place, actor, granted, now))
            _audit(tx, "case.receive", added, actor.name, now, due_at=added.due_at.isoformat())
            if not rule.deadline.at_once:
                return added, None
            return self._carry_out(
                tx, added, Decision(added.version, True, "carries itself out"), actor.name, now
            )

        return await self._told(*await self._storage.write(transaction))

    async def decide(self, actor: Actor, case: int, decision: Decision) -> CaseRecord:
        """Grant or refuse a case; what is granted is done in the same commit.

        `ConflictError` where it is decided already, was changed since it was seen, or the certificate's state
        does not allow it; `NotAuthorizedError` also where a second person is needed and this is the first.
        """
        ground = parse_line(decision.ground, MAX_EVIDENCE_CHARACTERS)
        found = await self._storage.read(lambda tx: _found(tx, case))
        await self._gate.require(_to_decide(actor, found, decision.seen_version))
        now = self._clock.now()

        def transaction(tx: Transaction) -> tuple[CaseRecord, int | None]:
            current = _found(tx, case)
            decided = Decision(decision.seen_version, decision.granted, ground)
            return self._carry_out(tx, current, decided, actor.name, now)

        return await self._told(*await self._storage.write(transaction))

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
        """Return open cases, the most urgent first; `after` is (due_at, id) of the last one seen."""
        place = await self._storage.read(lambda tx: office_of(tx, office))
        where = place.id if place else None
        await self._gate.require(Permission(actor, Action.READ_CASE, Target(office=where)))
        bound = max(1, min(limit, MAX_LIST))
        return await self._storage.read(
            lambda tx: rows.open_by_due(tx, office=where, until=until, after=after, limit=bound)
        )

    def _carry_out(
        self, tx: Transaction, case: CaseRecord, decision: Decision, actor: str, now: datetime
    ) -> tuple[CaseRecord, int | None]:
        """Decide a case in this transaction; return it, and the number of the event that it led to."""
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
            return decided, None
        changed = change_status(tx, case.authority, case.serial, command, actor, now, case=case.id)
        self._notices.of_change(tx, changed, case.person, case.ground, now)
        return decided, changed.sequence

    async def _told(self, case: CaseRecord, sequence: int | None) -> CaseRecord:
        if sequence is not None:
            await self._on_event(sequence)
        return case


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


def _entering(actor: Actor, new: NewCase) -> Actor:
    """Return the actor with those roles alone in which one enters what came by this channel."""
    return replace(
        actor, assignments=tuple(one for one in actor.assignments if one.role in ENTERED_BY[new.channel])
    )


def _to_enter(new: NewCase) -> Action:
    if new.channel is Channel.AUTHORITY:
        return Action.ENTER_AUTHORITY_DECISION
    if needs_second(new.kind, new.channel, new.ground):
        return Action.REVOKE_AGAINST_WILL
    return Action.FEED_REGISTRY if new.channel is Channel.CIVIL_REGISTRY else Action.REQUEST_CASE


def _to_decide(actor: Actor, case: CaseRecord, seen_version: int) -> Permission:
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
    return Permission(first, action, _target(case), Approval(actor, seen_version))


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
    new: NewCase, evidence: str, place: Place, actor: Actor, granted: Granted, now: datetime
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
        entered_role=granted.role.value,
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
