"""Ends an authority whose key is no longer its own: it stops, and everything that it signed is revoked.

Every step is "do it, unless it is done": a run that was cut short is simply repeated.
"""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from pkiserver import audit
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.hierarchy import RESPONDER_PROFILE, ROOT_PROFILE
from pkiserver.ca.root_updates import LINK_PROFILE
from pkiserver.clock import Clock, utc_text
from pkiserver.errors import ConflictError
from pkiserver.progress import Progress
from pkiserver.ra.key_revocation import KeyRevocation
from pkiserver.ra.lifecycle import Action, Command
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import authorities as rows
from store import certificates, issuances
from store.database import Transaction
from store.records import CertificateRecord

PAGE: Final = 256  # certificates revoked at once: they share commits
FIELDS: Final = ("serial", "subject", "profile", "not_after")
_REVOKE: Final = Command(Action.REVOKE, reason=CRLReason.CA_COMPROMISE)
_ITS_OWN: Final = frozenset({ROOT_PROFILE, RESPONDER_PROFILE})
_NOT_REISSUED: Final = _ITS_OWN | {LINK_PROFILE}


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a compromise came to: `above` are the certificates of the key itself that were revoked now.

    `outside` says that the issuer of its certificate is kept outside, and has to revoke it there.
    """

    authority: Authority
    above: tuple[CertificateRecord, ...]
    outside: bool
    revoked: int


class Compromise:
    """Ends authorities whose keys are compromised."""

    def __init__(self, storage: Storage, clock: Clock, authorities: Authorities, keys: KeyRevocation) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._keys = keys

    async def stop(self, name: str, actor: str) -> Authority:
        """Have an authority issue nothing more, from this moment; on disk when this returns."""
        authority = self._authorities.get(name)
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            state = rows.state_of(tx, authority.id)
            if state != "compromised":
                rows.move(tx, authority.id, state, "compromised")
                entry = audit.entry(now, actor, "authority.compromise", authority=authority.handle)
                audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)
        return self._authorities.with_id(authority.id)

    async def to_reissue(self, authority: Authority) -> AsyncIterator[bytes]:
        """Yield a CSV of everybody whose certificate by a stopped authority was still of use, in pieces."""
        yield _csv([FIELDS])
        async for page in self._pages(authority):
            yield _csv([_row(record) for record in page if record.profile not in _NOT_REISSUED])

    async def withdraw(self, authority: Authority, actor: str, progress: Progress) -> Withdrawn:
        """Revoke the certificate of a stopped authority where it was issued here, and all that it issued.

        `ConflictError` while one that it had begun to issue is neither recorded nor given up.
        """
        above = await self._keys.revoke_above(authority, _REVOKE, actor)
        revoked = 0
        async for page in self._pages(authority):
            wanted = [one for one in page if one.state != "revoked" and one.profile not in _ITS_OWN]
            await self._keys.revoke(wanted, _REVOKE, actor)
            revoked += len(wanted)
            progress("revoked", revoked)
        unfinished = await self._storage.read(issuances.unfinished)
        if any(intent.authority == authority.id for intent in unfinished):
            raise ConflictError(f"authority {authority.handle} had begun to issue a certificate: try again")
        return Withdrawn(authority, tuple(above), self._keys.is_outside(authority), revoked)

    async def _pages(self, authority: Authority) -> AsyncIterator[list[CertificateRecord]]:
        """Yield what has not ended and was not revoked for another reason, a page at a time."""
        now, after = self._clock.now(), 0
        while page := await self._storage.read(
            lambda tx, last=after: certificates.not_ended(  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
                tx, authority.id, now, last, PAGE, CRLReason.CA_COMPROMISE.value
            )
        ):
            yield page
            after = page[-1].serial


def _row(record: CertificateRecord) -> tuple[str, ...]:
    return serial_text(record.serial), record.subject, record.profile, utc_text(record.not_after)


def _csv(table: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue().encode()
