"""Actors: who acts here besides subscribers, and by which certificates each is known.

Registered are certificates of the infrastructure authority alone, one by one: none acts by its contents.
What an actor may do are its roles, which `role_grants` grants.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.hierarchy import INFRASTRUCTURE
from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.issuance_rules import require_entitled
from pkiserver.clock import Clock
from pkiserver.errors import ChangedError, NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra import profile_limits
from pkiserver.ra.actor_identity import ActorIdentities, is_identified
from pkiserver.ra.registration.offices import found_office
from pkiserver.ra.registration.organizations import found_organization
from pkiserver.ra.registration.permissions import require
from pkiserver.ra.registration.roles import Action, Actor, Permission, Role
from pkiserver.ra.role_grants import REGISTRATION_CLIENT, ROLE_NAMES, at_machine, found_actor, propose_in
from pkiserver.storage import Storage
from protocols import oid
from store import actor_profiles, actor_proposals, certificates, offices, organizations
from store import actors as rows
from store import audit as audit_chain
from store.actor_proposals import Change, ProposalRecord
from store.database import Transaction
from store.records import ActorCertificateRecord, ActorRecord, CertificateRecord, RoleRecord

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
FIRST: Final = "administrator"  # whom `init` makes
# The extended key usage that a role needs: that of an RA (RFC 6402 §2.10), and that of any client for who
# asks through the API.
ROLES: Final[Mapping[str, str]] = dict.fromkeys(ROLE_NAMES, oid.KP_CLIENT_AUTH) | {
    REGISTRATION_CLIENT: oid.KP_CMC_RA
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role is granted: in an office, in an organisation, in all offices, or (none of it) as it is."""

    office: int | None = None
    organization: int | None = None
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class NewActor:
    """What is registered: a certificate for a name, with a role and who that is (`civil_id`), where said.

    `profiles` are those that a registration client is limited to, see `profile_limits`.
    """

    name: str
    certificate: x509.Certificate
    role: str | None = None
    place: Place = Place()
    civil_id: str | None = field(default=None, repr=False)
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of it; `waiting` is what a second administrator has to confirm."""

    actor: ActorRecord
    certificate: CertificateRecord
    waiting: tuple[ProposalRecord, ...]


@dataclass(frozen=True, slots=True)
class ShownActor:
    """An actor with its certificates, removed ones too, and the profiles that it is limited to, if it is."""

    record: ActorRecord
    certificates: list[ActorCertificateRecord]
    profiles: frozenset[str]
    identified: bool


class Actors:
    """Registers the certificates of actors and finds whom one speaks for."""

    def __init__(
        self, storage: Storage, clock: Clock, authorities: Authorities, identities: ActorIdentities
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._identities = identities

    async def add(
        self, name: str, role: str | None, certificate: x509.Certificate, by: str, limit: Sequence[str] = ()
    ) -> Registered:
        """Register a certificate, asked for at this machine; see `register`."""
        new = NewActor(name, certificate, role, profiles=tuple(limit))
        return await self.register(at_machine(by), new)

    async def register(self, by: Actor, new: NewActor) -> Registered:
        """Register a certificate for an actor, which may have others; it must be on record and current.

        Raises `RefusedError`, `NotAuthorizedError` where it is not active, `ConflictError` where it is
        registered already or the limit would be wider than before. Certificate and role may have to wait for
        a second administrator; a limit counts at once.
        """
        if _NAME.fullmatch(new.name) is None:
            raise RefusedError("an actor's name has up to 63 lower-case letters, digits and hyphens")
        if new.role is not None and new.role not in ROLES:
            raise RefusedError(f"no role {new.role[:40]}: there are {', '.join(ROLES)}")
        issuer = self._authorities.issuer_of(new.certificate)
        if issuer is None or issuer.name != INFRASTRUCTURE:
            raise RefusedError(f"the certificate is not one of the authority {INFRASTRUCTURE}")
        _require_usage(new)
        now = self._clock.now()

        def transaction(tx: Transaction) -> Registered:
            require(Permission(by, Action.MANAGE_ACTORS))
            record = certificates.get(tx, issuer.id, new.certificate.serial_number)
            if record is None or record.certificate != new.certificate.public_bytes(Encoding.DER):
                raise RefusedError("the certificate is not on record")
            require_entitled(tx, record, now)
            actor = rows.with_name(tx, new.name) or rows.add(tx, name=new.name, now=now, by=by.name)
            if new.civil_id is not None:
                actor = self._identify(tx, by, actor, new.civil_id, now)
            _limit(tx, by, new, now)
            made = [propose_in(tx, by, actor, _certificate_change(record), now)]
            if new.role is not None and not _has_role(actor, new):
                made.append(propose_in(tx, by, found_actor(tx, new.name), grant_of(new.role, new.place), now))
            waiting = tuple(one for one in made if one.state == "waiting")
            return Registered(found_actor(tx, new.name), record, waiting)

        return await self._storage.write(transaction)

    async def identify(
        self, by: Actor, name: str, civil_id: str, seen_version: int | None = None
    ) -> ActorRecord:
        """Say who an actor is; said again, nothing changes.

        Raises `NotFoundError`, what `ActorIdentities.say` does, `NotAuthorizedError`, and `ChangedError`
        where the actor has changed since it was seen; None: whichever it is.
        """
        now = self._clock.now()

        def transaction(tx: Transaction) -> ActorRecord:
            require(Permission(by, Action.MANAGE_ACTORS))
            actor = found_actor(tx, name)
            if seen_version not in (None, actor.version):
                raise ChangedError("the actor has changed since you saw it")
            return self._identify(tx, by, actor, civil_id, now)

        return await self._storage.write(transaction)

    def _identify(
        self, tx: Transaction, by: Actor, actor: ActorRecord, civil_id: str, now: datetime
    ) -> ActorRecord:
        if self._identities.say(tx, actor, civil_id):
            audit_chain.append(tx, audit.entry(now, by.name, "actor.identify", name=actor.name))
        return found_actor(tx, actor.name)

    async def register_first(self, certificate: x509.Certificate) -> None:
        """Make who has this certificate the first administrator, where there is none."""
        now = self._clock.now()
        count = await self._storage.read(lambda tx: rows.count_with_role(tx, Role.ADMINISTRATOR.value))
        if count == 0 and now <= certificate.not_valid_after_utc:
            with suppress(NotAuthorizedError):  # it is revoked: the operator registers another
                await self.add(FIRST, Role.ADMINISTRATOR.value, certificate, "system")

    async def place(self, office: str | None, organization: str | None, *, everywhere: bool = False) -> Place:
        """Return the place that an office's code or an organisation's number names, or `NotFoundError`."""

        def look(tx: Transaction) -> Place:
            found = found_office(tx, office) if office is not None else None
            body = found_organization(tx, organization) if organization is not None else None
            return Place(found.id if found else None, body.id if body else None, everywhere)

        return await self._storage.read(look)

    async def place_names(self, change: Change | RoleRecord) -> tuple[str | None, str | None]:
        """Return the code of the office and the number of the organisation of a role, where it has them."""

        def look(tx: Transaction) -> tuple[str | None, str | None]:
            office = offices.get(tx, change.office) if change.office is not None else None
            body = organizations.get(tx, change.organization) if change.organization is not None else None
            return office.code if office else None, body.number if body else None

        return await self._storage.read(look)

    async def show(self, name: str) -> ShownActor:
        """Return an actor by its name, or raise `NotFoundError`."""

        def look(tx: Transaction) -> ShownActor:
            return _shown(tx, found_actor(tx, name))

        return await self._storage.read(look)

    async def newest(self, before: int, limit: int) -> list[ShownActor]:
        """Return actors with numbers below `before`, the newest first."""
        return await self._storage.read(lambda tx: [_shown(tx, one) for one in rows.page(tx, before, limit)])

    async def proposals(
        self, state: str | None, before: int, limit: int
    ) -> list[tuple[ProposalRecord, ActorRecord]]:
        """Return proposals with numbers below `before`, the newest first, each with its actor."""

        def look(tx: Transaction) -> list[tuple[ProposalRecord, ActorRecord]]:
            found = actor_proposals.page(tx, state, before, limit)
            return [(one, actor) for one in found if (actor := rows.get(tx, one.actor)) is not None]

        return await self._storage.read(look)

    async def proposal(self, number: int) -> tuple[ProposalRecord, ActorRecord]:
        """Return a proposal with its actor, or raise `NotFoundError`."""

        def look(tx: Transaction) -> tuple[ProposalRecord, ActorRecord]:
            found = actor_proposals.get(tx, number)
            actor = rows.get(tx, found.actor) if found is not None else None
            if found is None or actor is None:
                raise NotFoundError(f"no proposal {number}; see `pkiserver actor proposals`")
            return found, actor

        return await self._storage.read(look)

    async def holder(self, record: CertificateRecord) -> ActorRecord | None:
        """Return the actor for whom a certificate speaks now, or None; its status the caller looks up."""
        return await self._storage.read(lambda tx: self.holding(tx, record), brief=True)

    @staticmethod
    def holding(tx: Transaction, record: CertificateRecord) -> ActorRecord | None:
        """Return what `holder` does, in the caller's transaction."""
        return rows.with_certificate(tx, record.authority, record.serial)


def _shown(tx: Transaction, record: ActorRecord) -> ShownActor:
    certificates = rows.certificates(tx, record.id, MAX_LIST)
    limit = actor_profiles.of(tx, record.name)
    return ShownActor(record, certificates, limit, is_identified(tx, record.id))


def _limit(tx: Transaction, by: Actor, new: NewActor, now: datetime) -> None:
    """Limit a registration client to the profiles that were named; `ConflictError` for wider ones."""
    if new.profiles:
        profile_limits.narrow(tx, new.name, new.profiles)
        limited = audit.entry(now, by.name, "actor.limit", name=new.name, profiles=sorted(new.profiles))
        audit_chain.append(tx, limited)


def _certificate_change(record: CertificateRecord) -> Change:
    return Change("certificate", authority=record.authority, serial=record.serial)


def grant_of(role: str, place: Place, kind: str = "grant") -> Change:
    """Return the change that grants a role in a place, or (`withdraw`) takes it back."""
    return Change(kind, role, place.office, place.organization, place.everywhere)


def _has_role(actor: ActorRecord, new: NewActor) -> bool:
    wanted = (new.role, new.place.office, new.place.organization, new.place.everywhere)
    return wanted in [(one.role, one.office, one.organization, one.everywhere) for one in actor.roles]


def _require_usage(new: NewActor) -> None:
    """Raise `RefusedError` for a certificate that could be shown for no role, or not for this one."""
    if new.profiles and new.role != REGISTRATION_CLIENT:
        raise RefusedError(f"role {new.role} is not limited to profiles: role {REGISTRATION_CLIENT} is")
    if new.role is not None and not has_usage(new.certificate, ROLES[new.role]):
        raise RefusedError(f"role {new.role} needs the extended key usage {ROLES[new.role]}")
    if not any(has_usage(new.certificate, usage) for usage in set(ROLES.values())):
        raise RefusedError("the certificate is for no client of ours: its extended key usage is another")


@lru_cache(maxsize=1_024)  # the API asks at every request, and a certificate stays as it is
def has_usage(certificate: x509.Certificate, usage: str) -> bool:
    """Return whether a certificate of ours has an extended key usage."""
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return x509.ObjectIdentifier(usage) in extended
