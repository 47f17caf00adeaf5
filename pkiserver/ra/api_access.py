"""Who asks the API: a registered actor by its client certificate, whose status is read at every request."""

from dataclasses import dataclass

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.actors import Actors
from pkiserver.ra.client_certificates import ClientCertificates, Holder
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.roles import (
    Action,
    Actor,
    Assignment,
    Permission,
    Role,
    Target,
    may_anywhere,
    require,
)
from pkiserver.storage import Storage
from store import audit as audit_chain
from store.records import CertificateRecord


@dataclass(frozen=True, slots=True)
class Caller:
    """A registered actor at one request, and the certificate that it showed."""

    name: str
    role: Role
    certificate: CertificateRecord

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return f"actor:{self.name}"

    def require_anywhere(self, action: Action) -> None:
        """Raise `NotAuthorizedError` where the caller may do this nowhere."""
        may_anywhere(self._acting, action)

    def require(self, action: Action, target: Target) -> None:
        """Raise `NotAuthorizedError` unless the caller may do this to that, alone."""
        require(Permission(self._acting, action, target))

    def may(self, action: Action, target: Target) -> bool:
        """Return whether the caller may do this to that: for lists, which leave out the rest."""
        try:
            self.require(action, target)
        except NotAuthorizedError:
            return False
        return True

    @property
    def _acting(self) -> Actor:
        return Actor(self.name, (Assignment(self.role),))


class APIAccess:
    """Tells who asks, and has what was refused audited."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        actors: Actors,
        client_certificates: ClientCertificates,
        refusals: Refusals,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._actors = actors
        self._client_certificates = client_certificates
        self._refusals = refusals

    async def identify(self, client_certificate: bytes | None) -> Caller:
        """Return who shows this DER certificate; `NotAuthorizedError` says why it is nobody who may ask."""
        if client_certificate is None:
            raise NotAuthorizedError("the API is for registered actors: connect with a client certificate")
        shown = self._client_certificates.read(client_certificate)
        holder = await self._client_certificates.identify(shown)
        found = await self._actors.holder(holder.record) if isinstance(holder, Holder) else None
        if not isinstance(holder, Holder) or found is None:
            raise NotAuthorizedError("this client certificate is registered for no actor")
        try:
            role = Role(found.role)
        except ValueError as error:
            raise NotAuthorizedError(f"role {found.role} does not use the API") from error
        return Caller(found.name, role, holder.record)

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
