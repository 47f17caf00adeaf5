"""Who asks the API: a registered actor by its client certificate, whose status is read at every request.

A service asks on behalf of a holder whom it identified; that it says so, and how, is on record first.
"""

from dataclasses import dataclass, replace

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.actors import Actors, has_usage
from pkiserver.ra.client_certificates import ClientCertificates, Holder
from pkiserver.ra.on_behalf import parse_on_behalf_of
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.people import People
from pkiserver.ra.registration.permissions import may_anywhere, require
from pkiserver.ra.registration.roles import NEW_HOLDER, Action, Actor, Permission, Role, Target
from pkiserver.ra.role_grants import acting
from pkiserver.storage import Storage
from protocols import oid
from store import audit as audit_chain
from store.database import Transaction
from store.records import ActorRecord, CertificateRecord


@dataclass(frozen=True, slots=True)
class Caller:
    """A registered actor at one request, and the certificate that it showed."""

    name: str
    acting: Actor
    certificate: CertificateRecord

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return self.acting.name

    def require_anywhere(self, action: Action) -> None:
        """Raise `NotAuthorizedError` where the caller may do this nowhere."""
        may_anywhere(self.acting, action)

    def require(self, action: Action, target: Target) -> None:
        """Raise `NotAuthorizedError` unless the caller may do this to that, alone."""
        require(Permission(self.acting, action, target))

    def may(self, action: Action, target: Target) -> bool:
        """Return whether the caller may do this to that: for lists, which leave out the rest."""
        try:
            self.require(action, target)
        except NotAuthorizedError:
            return False
        return True


class APIAccess:
    """Tells who asks, and has what was refused audited."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        actors: Actors,
        client_certificates: ClientCertificates,
        refusals: Refusals,
        people: People,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._actors = actors
        self._client_certificates = client_certificates
        self._refusals = refusals
        self._people = people

    async def identify(self, client_certificate: bytes | None) -> Caller:
        """Return who shows this DER certificate; `NotAuthorizedError` says why it is nobody who may ask."""
        if client_certificate is None:
            raise NotAuthorizedError("the API is for registered actors: connect with a client certificate")
        shown = self._client_certificates.read(client_certificate)
        if shown.issuer is None:
            await self._client_certificates.identify(shown)  # says what is wrong with it, where something is
            raise NotAuthorizedError("this client certificate is registered for no actor")

        def look(tx: Transaction) -> tuple[Holder, ActorRecord | None]:
            holder = self._client_certificates.holder(tx, shown)
            return holder, self._actors.holding(tx, holder.record)

        holder, found = await self._storage.read(look, brief=True)
        if found is None:
            raise NotAuthorizedError("this client certificate is registered for no actor")
        if not has_usage(holder.certificate, oid.KP_CLIENT_AUTH):
            raise NotAuthorizedError("this client certificate is not for clientAuth")
        actor = acting(found)
        if not actor.assignments:
            names = ", ".join(one.role for one in found.roles) or "none"
            raise NotAuthorizedError(f"{found.name} has no role that uses the API: {names}")
        return Caller(found.name, actor, holder.record)

    async def on_behalf(self, caller: Caller, operation: str, header: str | None) -> Caller:
        """Return a caller that names a holder as acting for them; it is recorded who, and how it knows.

        `NotAuthorizedError` for who is no service, `MalformedError` for a header that is none.
        """
        if header is None:
            return caller
        if not any(one.role is Role.SERVICE for one in caller.acting.assignments):
            raise NotAuthorizedError("only a service acts on behalf of a holder")
        identified = parse_on_behalf_of(header)
        now = self._clock.now()

        def transaction(tx: Transaction) -> int:
            person = self._people.of_civil_id(tx, identified.civil_id) or NEW_HOLDER
            entry = audit.entry(
                now,
                caller.actor,
                "api.on_behalf",
                operation=operation,
                person=person or None,
                identified_by=identified.by,
                reference=identified.reference,
            )
            audit_chain.append(tx, entry)
            return person

        person = await self._storage.write(transaction)
        return replace(caller, acting=replace(caller.acting, on_behalf_of=person, identified=identified))

    async def refused(self, operation: str, peer: str, reason: str, caller: Caller | None = None) -> None:
        """Audit a refusal; `UnavailableError` where a peer that is no actor has had its share of them."""
        action = f"api.{operation}"
        if caller is None:
            await self._refusals.record("anonymous", action, peer, reason)
            return
        # The reason may quote what was asked for, a name or a mail address. An actor's share is its rate.
        entry = audit.entry(
            self._clock.now(), caller.actor, action, "refused", peer=peer, personal={"reason": reason}
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))
