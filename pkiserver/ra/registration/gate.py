"""The door to every service of registration: what the permission table refuses is audited."""

from collections.abc import Callable

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import DeniedError, NotAuthorizedError
from pkiserver.ra.registration.permissions import Granted, decide, require
from pkiserver.ra.registration.roles import Actor, Permission
from pkiserver.storage import Storage
from store import audit as audit_chain


class Gate:
    """Asks the permission table, and has its refusals on record."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def require(self, permission: Permission, by: Actor | None = None) -> Granted:
        """Return by which role it is allowed; `DeniedError`, after it was recorded.

        `by` is who asks, where that is not the permission's actor but who approves it.
        """
        return await self._recorded(permission, require, by or permission.actor)

    async def granted(self, permission: Permission) -> Granted:
        """Return by which role it is allowed, be it that a second person is awaited; as `require` else."""
        return await self._recorded(permission, decide, permission.actor)

    async def _recorded(
        self, permission: Permission, ask: Callable[[Permission], Granted], by: Actor
    ) -> Granted:
        try:
            return ask(permission)
        except NotAuthorizedError as error:
            entry = audit.entry(
                self._clock.now(),
                by.name,
                f"registration.{permission.action.value}",
                "refused",
                office=permission.target.office,
                organization=permission.target.organization,
                holder=permission.target.holder,
            )
            await self._storage.write(lambda tx: audit_chain.append(tx, entry), brief=True)
            raise DeniedError(str(error)) from error
