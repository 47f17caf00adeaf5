"""Revokes the certificates of an authority's key: those that other authorities of ours issued to it."""

import asyncio
from collections.abc import Sequence

from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.root_updates import spki_sha256
from pkiserver.clock import Clock
from pkiserver.ra.lifecycle import Command
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage
from store import certificates
from store.records import CertificateRecord


class KeyRevocation:
    """Revokes what others issued to a key: its certificate by its parent, and the links of a root."""

    def __init__(
        self, storage: Storage, clock: Clock, authorities: Authorities, status_changes: StatusChanges
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._status_changes = status_changes

    async def revoke_above(
        self, authority: Authority, command: Command, actor: str
    ) -> list[CertificateRecord]:
        """Revoke the certificates of a key by other authorities of ours; return those that were not yet."""
        digest, now = spki_sha256(authority.certificate), self._clock.now()
        found = await self._storage.read(lambda tx: certificates.with_key(tx, digest))
        wanted = [
            one
            for one in found
            if one.authority != authority.id and one.state != "revoked" and one.not_after >= now
        ]
        await self.revoke(wanted, command, actor)
        await self._authorities.reload(self._storage)
        return wanted

    async def revoke(self, records: Sequence[CertificateRecord], command: Command, actor: str) -> None:
        """Revoke all of these at once: they share commits."""
        changes = [
            self._status_changes.carry_out(one.authority, one.serial, command, actor) for one in records
        ]
        await asyncio.gather(*changes)

    def is_outside(self, authority: Authority) -> bool:
        """Return whether the issuer of its certificate is kept outside, and has to revoke it there."""
        issuer = self._authorities.above(authority)
        return bool(authority.parent) and (issuer is None or issuer.key_label is None)
