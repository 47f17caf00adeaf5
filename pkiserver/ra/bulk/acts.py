"""Bulk acts: proposed by one, confirmed by a second person; stopped and gone on with where that is needed.

What was confirmed is carried out by `runner`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, ConflictError, NotFoundError, RefusedError
from pkiserver.ra.bulk.people import holder_among, holder_in, proposer
from pkiserver.ra.bulk.rules import Event, State, decide, require_ground
from pkiserver.ra.bulk.selection import Selected, Selection, require_selection, select
from pkiserver.ra.cases.entry import DECISION_EVIDENCE, EVIDENCE, MAX_EVIDENCE_CHARACTERS
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.permissions import may_anywhere, reach
from pkiserver.ra.registration.roles import Action, Actor, Approval, Permission, Role, Target
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import bulk_acts as rows
from store import organizations
from store.bulk_acts import ActRecord, NewActRecord
from store.database import Transaction

PROPOSAL_LIFETIME: Final = timedelta(days=14)  # who confirms later would not know any more what was meant
MAX_WAITING: Final = 100  # proposals of one proposer: each has a list of its own, and nobody fills all places


@dataclass(frozen=True, slots=True)
class NewAct:
    """What is proposed: what is to be done to which certificates, and why."""

    kind: Kind
    ground: str
    selection: Selection
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class By:
    """Who proposes an act, and by which role; confirmed it is by a second person."""

    actor: Actor
    role: Role


class BulkActs:
    """Proposes, confirms, refuses, stops and resumes; `begun` is called when there is something to do."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        subscribers: frozenset[str],
        begun: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._subscribers = subscribers
        self._begun = begun

    async def propose(self, actor: Actor, new: NewAct) -> ActRecord:
        """Propose an act about the certificates that there are now; nothing follows until it is confirmed.

        Raises `RefusedError`, `NotFoundError`, `NotAuthorizedError`, and `ConflictError` where too many wait.
        """
        _require(new)
        now = self._clock.now()
        target, holder = await self._storage.read(
            lambda tx: (_target_of(tx, new.selection), holder_among(tx, actor, new.selection))
        )
        asked = Permission(actor, Action.BULK_ACT, replace(target, holder=holder))
        granted = await self._gate.granted(asked)
        # Looked for on a snapshot, outside of the one writer's time: a country's certificates take seconds.
        selected = await self._storage.read(lambda tx: select(tx, new.selection, self._subscribers, now))
        by = By(actor, granted.role)
        return await self._storage.write(lambda tx: self._add(tx, new, selected, target, by, now))

    def propose_in(self, tx: Transaction, new: NewAct, by: By, now: datetime) -> ActRecord | None:
        """Propose an act in the transaction of a caller who asked the table; None: there is nothing to do."""
        target = _target_of(tx, new.selection)
        try:
            selected = select(tx, new.selection, self._subscribers, now)
        except RefusedError:
            return None
        return self._add(tx, new, selected, target, by, now)

    async def confirm(self, actor: Actor, act: int, seen_version: int) -> ActRecord:
        """Begin a proposed act as the second person; it is carried out from now on, crash or not.

        Raises `ChangedError`, `ConflictError`, and `NotAuthorizedError` for who proposed it, and where the
        proposer does not have that role any more.
        """

        def look(tx: Transaction) -> tuple[ActRecord, Actor, int | None]:
            found = found_act(tx, act)
            return found, proposer(tx, found), holder_in(tx, actor, found)

        found, first, holder = await self._storage.read(look)
        target = Target(organization=found.organization, version=found.version, holder=holder)
        approval = Approval(actor, seen_version)
        if seen_version == found.version:
            await self._gate.require(Permission(first, Action.BULK_ACT, target, approval), by=actor)
        else:
            await self._gate.granted(Permission(actor, Action.BULK_ACT, target))
        now = self._clock.now()
        if now > found.proposed_at + PROPOSAL_LIFETIME:
            raise ConflictError("the proposal is too old: refuse it, and propose it again")
        confirmed = await self._storage.write(
            lambda tx: _moved(tx, act, Event.CONFIRM, seen_version, actor.name, now)
        )
        self._begun()
        return confirmed

    async def refuse(self, actor: Actor, act: int, seen_version: int) -> ActRecord:
        """End a proposal without doing it; who made it may, too."""
        return await self._move(actor, act, Event.REFUSE, seen_version)

    async def stop(self, actor: Actor, act: int, seen_version: int) -> ActRecord:
        """Stop an act between two batches; what is done stays done."""
        return await self._move(actor, act, Event.STOP, seen_version)

    async def resume(self, actor: Actor, act: int, seen_version: int) -> ActRecord:
        """Go on with an act that was stopped: two people agreed on it before."""
        moved = await self._move(actor, act, Event.RESUME, seen_version)
        self._begun()
        return moved

    async def show(self, actor: Actor, act: int) -> ActRecord:
        """Return an act."""
        found = await self._storage.read(lambda tx: found_act(tx, act))
        target = Target(organization=found.organization)
        await self._gate.require(Permission(actor, Action.READ_BULK_ACT, target))
        return found

    async def serials(self, actor: Actor, act: int, number: int) -> tuple[int, tuple[int, ...]]:
        """Return authority and serials of a batch of an act; `NotFoundError` where there is none."""
        await self.show(actor, act)
        batch = await self._storage.read(lambda tx: rows.batch(tx, act, number))
        if batch is None:
            raise NotFoundError(f"bulk act {act} has no batch {number}")
        return batch.authority, tuple(int.from_bytes(one, "big") for one in batch.serials)

    async def newest(
        self, actor: Actor, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[ActRecord]:
        """Return the acts that the actor may see, the newest first; `before` is the last one seen."""
        may_anywhere(actor, Action.READ_BULK_ACT)
        reached = reach(actor, Action.READ_BULK_ACT)
        most = max(1, min(limit, MAX_LIST))
        wanted = None if state is None else state.value
        return await self._storage.read(
            lambda tx: rows.newest(tx, wanted, before, most, of_organizations=not reached.everything)
        )

    async def _move(self, actor: Actor, act: int, event: Event, seen_version: int) -> ActRecord:
        found = await self._storage.read(lambda tx: found_act(tx, act))
        await self._gate.granted(Permission(actor, Action.BULK_ACT, Target(organization=found.organization)))
        now = self._clock.now()
        return await self._storage.write(lambda tx: _moved(tx, act, event, seen_version, actor.name, now))

    def _add(
        self, tx: Transaction, new: NewAct, selected: Selected, target: Target, by: By, now: datetime
    ) -> ActRecord:
        waiting = [one.proposed_by for one in rows.in_state(tx, State.PROPOSED.value)]
        if waiting.count(by.actor.name) >= MAX_WAITING:
            raise ConflictError(
                f"{MAX_WAITING} bulk acts of yours wait for a second person: decide some of them first"
            )
        record = NewActRecord(
            kind=new.kind.value,
            ground=new.ground,
            lifts=new.selection.lifts,
            organization=target.organization,
            selection=new.selection.text(),
            evidence=_evidence_text(new),
            certificates=selected.count,
            sha256=selected.sha256,
            proposed_at=now,
            proposed_by=by.actor.name,
            proposed_role=by.role.value,
            proposed_person=by.actor.person,
        )
        added = rows.add(tx, record, selected.batches)
        _audit(tx, "bulk.propose", added, by.actor.name, now, selection=json.loads(added.selection))
        return added


def found_act(tx: Transaction, act: int) -> ActRecord:
    """Return an act or raise `NotFoundError`."""
    found = rows.get(tx, act)
    if found is None:
        raise NotFoundError(f"no bulk act {act}; see `pkiserver bulk list`")
    return found


def note(tx: Transaction, event: Event, act: ActRecord, actor: str, now: datetime) -> None:
    """Record what happened to an act, in the caller's transaction."""
    _audit(tx, f"bulk.{event.value}", act, actor, now, changed=act.changed, passed_over=act.passed_over)


def _moved(
    tx: Transaction, act: int, event: Event, seen_version: int, actor: str, now: datetime
) -> ActRecord:
    found = found_act(tx, act)
    if found.version != seen_version:
        raise ChangedError(f"the bulk act has changed since: it is at version {found.version}")
    to_state = decide(State(found.state), event).value
    if event in (Event.CONFIRM, Event.REFUSE):
        rows.decide(tx, act, seen_version, to_state, actor, now)
    else:
        rows.move(tx, act, seen_version, to_state)
    moved = found_act(tx, act)
    note(tx, event, moved, actor, now)
    return moved


def _require(new: NewAct) -> None:
    require_ground(new.kind, new.ground)
    require_selection(new.kind, new.selection)
    _evidence_text(new)


def _evidence_text(new: NewAct) -> str:
    """Return the evidence as it is kept; an authority's decision is named in full (regulation 3.3)."""
    if set(new.evidence) - set(EVIDENCE):
        raise RefusedError(f"evidence is one of {', '.join(EVIDENCE)}")
    if new.ground == "authority_decision" and not set(new.evidence) >= DECISION_EVIDENCE:
        raise RefusedError("an authority's decision is named by body, number, date and document (3.3)")
    checked = {name: parse_line(text, MAX_EVIDENCE_CHARACTERS) for name, text in new.evidence.items()}
    return json.dumps(checked, ensure_ascii=False, sort_keys=True)


def _target_of(tx: Transaction, selection: Selection) -> Target:
    """Return where an act belongs: an organisation, where all of it is of one."""
    if selection.organization is not None:
        found = organizations.with_number(tx, selection.organization)
        if found is None:
            raise NotFoundError(f"no organisation {selection.organization[:20]}")
        return Target(organization=found.id)
    return Target(organization=found_act(tx, selection.lifts).organization if selection.lifts else None)


def _audit(tx: Transaction, event: str, act: ActRecord, actor: str, now: datetime, **more: Any) -> None:
    entry = audit.entry(
        now,
        actor,
        event,
        act=act.id,
        kind=act.kind,
        ground=act.ground,
        organization=act.organization,
        certificates=act.certificates,
        sha256=act.sha256.hex(),
        **more,
    )
    audit_chain.append(tx, entry)
