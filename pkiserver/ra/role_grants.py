"""What changes of an actor: roles and certificates; what takes two administrators waits for the second.

Every change is a proposal. Where one person is enough it is carried out at once, in the same transaction;
else another administrator confirms it, who saw the actor as the first one did.
"""

from datetime import datetime, timedelta
from typing import Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, ConflictError, NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra import profile_limits
from pkiserver.ra.actor_identity import ROLES_OF_PEOPLE, is_identified
from pkiserver.ra.registration.permission_table import place_of
from pkiserver.ra.registration.permissions import decide, require
from pkiserver.ra.registration.roles import Action, Actor, Approval, Assignment, Permission, Role, Target
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import actor_proposals as proposals
from store import actors as rows
from store import audit as audit_chain
from store import offices, organizations
from store.actor_proposals import Change, ProposalRecord
from store.database import Transaction
from store.records import ActorRecord, AuditEntry

PROPOSAL_LIFETIME: Final = timedelta(days=14)  # who confirms later would not know any more what was meant
MAX_WAITING: Final = 1000
ACTOR_PREFIX: Final = "actor:"  # in the audit log; who gives commands at this machine has another
REGISTRATION_CLIENT: Final = "ra"  # asks over EST and CMP, and not through the API
ROLE_NAMES: Final = (REGISTRATION_CLIENT, *(role.value for role in Role))


def audit_name(actor: str) -> str:
    """Return how the audit log names an actor."""
    return f"{ACTOR_PREFIX}{actor}"


def at_machine(name: str) -> Actor:
    """Return who gives a command at this machine, as an administrator."""
    return Actor(name, (Assignment(Role.ADMINISTRATOR),))


def acting(record: ActorRecord) -> Actor:
    """Return an actor as the permission table knows it, with the roles of now."""
    return Actor(
        audit_name(record.name),
        tuple(
            Assignment(Role(one.role), one.office, one.organization, one.everywhere)
            for one in record.roles
            if one.role != REGISTRATION_CLIENT
        ),
        person=record.person,
        number=record.id,
    )


class RoleGrants:
    """Proposes, confirms and refuses changes of actors."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def propose(
        self, by: Actor, name: str, change: Change, seen_version: int | None = None
    ) -> ProposalRecord:
        """Propose a change of an actor; done already where its state says so.

        Raises `NotFoundError`, `NotAuthorizedError`, `RefusedError`, `ConflictError` where it changes
        nothing, and `ChangedError` where the actor has changed since it was seen; None: whichever it is.
        """
        now = self._clock.now()

        def transaction(tx: Transaction) -> ProposalRecord:
            actor = found_actor(tx, name)
            if seen_version not in (None, actor.version):
                raise ChangedError("the actor has changed since you saw it")
            return propose_in(tx, by, actor, change, now)

        return await self._storage.write(transaction)

    async def confirm(self, by: Actor, proposal: int, seen_version: int) -> ProposalRecord:
        """Carry out what another administrator proposed; `seen_version` is that of the actor.

        Raises `ChangedError` where the actor is another by now, `NotAuthorizedError` for who proposed it, for
        who it is about, and where the proposer is no administrator any more.
        """
        now = self._clock.now()

        def transaction(tx: Transaction) -> ProposalRecord:
            decide(Permission(by, Action.GRANT_ROLE))
            found, actor = _waiting(tx, proposal)
            if now > found.proposed_at + PROPOSAL_LIFETIME:
                raise ConflictError("the proposal is too old: refuse it, and propose it again")
            if actor.version != found.version:
                raise ChangedError("the actor has changed since this was proposed: propose it again")
            if seen_version != actor.version:
                raise ChangedError("the actor has changed since you saw it")
            if by.name == audit_name(actor.name):
                raise NotAuthorizedError("nobody confirms what is about themselves")
            require(
                Permission(
                    _proposer(tx, found.proposed_by),
                    Action.GRANT_ROLE,
                    _target(actor, found.change),
                    Approval(by, seen_version),
                )
            )
            _check(tx, actor, found.change)
            return _carry_out(tx, found, actor, by, now)

        return await self._storage.write(transaction)

    async def refuse(self, by: Actor, proposal: int) -> ProposalRecord:
        """End a proposal without doing it; who made it may, too."""
        now = self._clock.now()

        def transaction(tx: Transaction) -> ProposalRecord:
            decide(Permission(by, Action.GRANT_ROLE))
            found, actor = _waiting(tx, proposal)
            return _decided(tx, found, actor, by, now, "refused")

        return await self._storage.write(transaction)


def found_actor(tx: Transaction, name: str) -> ActorRecord:
    """Return the actor of a name or raise `NotFoundError`."""
    found = rows.with_name(tx, name)
    if found is None:
        raise NotFoundError(f"no actor {name[:63]}; see `pkiserver actor list`")
    return found


def propose_in(
    tx: Transaction, by: Actor, actor: ActorRecord, change: Change, now: datetime
) -> ProposalRecord:
    """Propose a change in the caller's transaction, and carry it out where one person is enough."""
    if change.kind == "grant" and by.name == audit_name(actor.name):
        raise NotAuthorizedError("nobody grants roles to themselves")
    alone = 1 if not _takes_two(actor, change) else rows.count_with_role(tx, Role.ADMINISTRATOR.value)
    permission = Permission(by, Action.GRANT_ROLE, _target(actor, change), administrators=alone)
    granted = decide(permission)
    _check(tx, actor, change)
    if proposals.count_waiting(tx) >= MAX_WAITING:
        raise ConflictError("too many proposals wait: have some confirmed or refused")
    made = proposals.add(tx, actor=actor.id, change=change, version=actor.version, now=now, by=by.name)
    if not granted.needs_approval:
        return _carry_out(tx, made, actor, by, now)
    audit_chain.append(tx, _entry(made, actor, by, now, f"actor.{change.kind}.propose"))
    return made


def _takes_two(actor: ActorRecord, change: Change) -> bool:
    """Return whether two administrators decide: on every grant, and on who the administrators are.

    A certificate more is a grant of all the roles that the actor has.
    """
    if change.kind == "grant":
        return True
    if change.kind == "certificate":
        return bool(actor.roles)
    administrator = Role.ADMINISTRATOR.value
    return actor.has_role(administrator) and change.role in (None, administrator)


def _target(actor: ActorRecord, change: Change) -> Target:
    return Target(holder=actor.person if change.kind == "grant" else None, version=actor.version)


def _check(tx: Transaction, actor: ActorRecord, change: Change) -> None:
    """Raise `RefusedError` for what is no change, `ConflictError` for one that changes nothing."""
    has = _current(actor, change)
    if change.kind == "grant":
        _check_place(tx, change)
        if has is not None:
            raise ConflictError(f"{actor.name} has this role already")
        _require_identified(tx, actor, change)
    if change.kind == "withdraw" and has is None:
        raise ConflictError(f"{actor.name} does not have this role")
    if change.kind == "certificate":
        _check_certificate(tx, change)
    if change.kind == "remove" and not actor.roles and not rows.has_certificate(tx, actor.id):
        raise ConflictError(f"{actor.name} has neither roles nor certificates")
    if change.kind in ("withdraw", "remove") and _ends_administrators(tx, actor, change):
        raise ConflictError(f"{actor.name} is the last administrator: grant the role to somebody else first")


def _require_identified(tx: Transaction, actor: ActorRecord, change: Change) -> None:
    """Know who has a role of people; whom `init` makes the first administrator, nobody can say then."""
    first = change.role == Role.ADMINISTRATOR.value and not rows.count_with_role(tx, change.role)
    if change.role in ROLES_OF_PEOPLE and not first and not is_identified(tx, actor.id):
        raise RefusedError(
            f"role {change.role} is for people, and nobody said who {actor.name} is:"
            " see `pkiserver actor identify`"
        )


def _check_certificate(tx: Transaction, change: Change) -> None:
    if change.authority is None or change.serial is None:
        raise RefusedError("a certificate is named by authority and serial number")
    other = rows.with_certificate(tx, change.authority, change.serial)
    if other is not None:
        raise ConflictError(f"the certificate is registered already, for {other.name}")


def _check_place(tx: Transaction, change: Change) -> None:
    """Raise `RefusedError` unless a role is granted where it belongs: an office, an organisation, or none."""
    if change.role not in ROLE_NAMES:
        raise RefusedError(f"no role {(change.role or '')[:40]}: there are {', '.join(ROLE_NAMES)}")
    place = None if change.role == REGISTRATION_CLIENT else place_of(Role(change.role))
    given = {"office": change.office, "organization": change.organization}
    wanted = {place} if place is not None and not change.everywhere else set()
    if {name for name, one in given.items() if one is not None} != wanted:
        needed = f"needs the {place} where it is" if place else "is not of one office or organisation"
        raise RefusedError(f"role {change.role} {needed}")
    if change.everywhere and place != "office":
        raise RefusedError(f"role {change.role} is not granted for all offices")
    if change.office is not None and offices.get(tx, change.office) is None:
        raise NotFoundError("no such office; see `pkiserver office list`")
    if change.organization is not None and organizations.get(tx, change.organization) is None:
        raise NotFoundError("no such organisation; see `pkiserver organization list`")


def _current(actor: ActorRecord, change: Change) -> int | None:
    place = (change.role, change.office, change.organization, change.everywhere)
    for one in actor.roles:
        if (one.role, one.office, one.organization, one.everywhere) == place:
            return one.id
    return None


def _ends_administrators(tx: Transaction, actor: ActorRecord, change: Change) -> bool:
    administrator = Role.ADMINISTRATOR.value
    about = actor.has_role(administrator) and change.role in (None, administrator)
    return about and rows.count_with_role(tx, administrator) < 2


def _proposer(tx: Transaction, name: str) -> Actor:
    """Return who proposed, with the roles of now."""
    kind, _, called = name.partition(":")
    if kind != "actor":
        return at_machine(name)
    found = rows.with_name(tx, called)
    return acting(found) if found is not None else Actor(name)


def _waiting(tx: Transaction, proposal: int) -> tuple[ProposalRecord, ActorRecord]:
    found = proposals.get(tx, proposal)
    actor = rows.get(tx, found.actor) if found is not None else None
    if found is None or actor is None:
        raise NotFoundError(f"no proposal {proposal}; see `pkiserver actor proposals`")
    if found.state != "waiting":
        raise ConflictError(f"proposal {proposal} is {found.state} already")
    return found, actor


def _carry_out(
    tx: Transaction, found: ProposalRecord, actor: ActorRecord, by: Actor, now: datetime
) -> ProposalRecord:
    change = found.change
    if change.kind == "grant" and change.role is not None:
        rows.add_role(
            tx,
            actor=actor.id,
            role=change.role,
            office=change.office,
            organization=change.organization,
            everywhere=change.everywhere,
            now=now,
            by=by.name,
        )
    elif change.kind == "certificate" and change.authority is not None and change.serial is not None:
        rows.add_certificate(
            tx, actor=actor.id, authority=change.authority, serial=change.serial, now=now, by=by.name
        )
    elif change.kind == "withdraw" and (role := _current(actor, change)) is not None:
        rows.end_role(tx, role, now, by.name)
    elif change.kind == "remove":
        rows.remove_certificates(tx, actor.id, now, by.name)
        profile_limits.lift(tx, actor.name)
        for one in actor.roles:
            rows.end_role(tx, one.id, now, by.name)
    return _decided(tx, found, actor, by, now, "done")


def _decided(
    tx: Transaction, found: ProposalRecord, actor: ActorRecord, by: Actor, now: datetime, state: str
) -> ProposalRecord:
    if not proposals.decide(tx, found.id, state, now, by.name):
        raise ConflictError(f"proposal {found.id} is decided already")
    action = f"actor.{found.change.kind}"
    audit_chain.append(tx, _entry(found, actor, by, now, action if state == "done" else f"{action}.refuse"))
    decided = proposals.get(tx, found.id)
    if decided is None:
        raise NotFoundError(f"no proposal {found.id}")
    return decided


def _entry(found: ProposalRecord, actor: ActorRecord, by: Actor, now: datetime, action: str) -> AuditEntry:
    change = found.change
    return audit.entry(
        now,
        by.name,
        action,
        name=actor.name,
        proposal=found.id,
        proposed_by=found.proposed_by,
        role=change.role,
        office=change.office,
        organization=change.organization,
        everywhere=change.everywhere,
        authority=change.authority,
        serial=None if change.serial is None else serial_text(change.serial),
    )
