"""Programs that act on behalf of others: which certificate speaks for which, and in what role.

Registered are certificates of the infrastructure authority alone, one by one: none acts by its contents.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.hierarchy import INFRASTRUCTURE
from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.issuance_rules import require_entitled
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.ra import profile_limits
from pkiserver.ra.registration.roles import Role
from pkiserver.storage import Storage
from protocols import oid
from protocols.x509.certificate import serial_text
from store import actors as rows
from store import audit as audit_chain
from store import certificates
from store.database import Transaction
from store.records import ActorRecord, CertificateRecord

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
REGISTRATION_CLIENT: Final = "ra"
# The extended key usage that a role needs: that of an RA (RFC 6402 §2.10), and that of any client for who
# asks through the API.
ROLES: Final = {REGISTRATION_CLIENT: oid.KP_CMC_RA} | dict.fromkeys(
    (role.value for role in Role), oid.KP_CLIENT_AUTH
)


class Actors:
    """Registers the certificates of actors and finds whom one speaks for."""

    def __init__(self, storage: Storage, clock: Clock, authorities: Authorities) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities

    async def add(
        self, name: str, role: str, certificate: x509.Certificate, by: str, limit: Sequence[str] = ()
    ) -> CertificateRecord:
        """Register a certificate for an actor, which may have others; it must be on record and current.

        `limit` names the profiles that a registration client is limited to, see `profile_limits`. Raises
        `RefusedError`, `NotAuthorizedError` where it is not active, `ConflictError` where it is registered
        already or the limit would be wider than before.
        """
        if _NAME.fullmatch(name) is None:
            raise RefusedError("an actor's name has up to 63 lower-case letters, digits and hyphens")
        if role not in ROLES:
            raise RefusedError(f"no role {role}: there are {', '.join(ROLES)}")
        issuer = self._authorities.issuer_of(certificate)
        if issuer is None or issuer.name != INFRASTRUCTURE:
            raise RefusedError(f"the certificate is not one of the authority {INFRASTRUCTURE}")
        if limit and role != REGISTRATION_CLIENT:
            raise RefusedError(f"role {role} is not limited to profiles: role {REGISTRATION_CLIENT} is")
        if not has_usage(certificate, ROLES[role]):
            raise RefusedError(f"role {role} needs the extended key usage {ROLES[role]}")
        now = self._clock.now()
        limited: dict[str, Any] = {"profiles": sorted(limit)} if limit else {}

        def transaction(tx: Transaction) -> CertificateRecord:
            record = certificates.get(tx, issuer.id, certificate.serial_number)
            if record is None or record.certificate != certificate.public_bytes(Encoding.DER):
                raise RefusedError("the certificate is not on record")
            require_entitled(tx, record, now)
            other = rows.with_certificate(tx, issuer.id, record.serial)
            if other is not None:
                raise ConflictError(f"the certificate is registered already, for {other.name}")
            rows.add(tx, name=name, role=role, authority=issuer.id, serial=record.serial, now=now, by=by)
            profile_limits.narrow(tx, name, limit)
            entry = audit.entry(
                now,
                by,
                "actor.add",
                name=name,
                role=role,
                authority=issuer.id,
                serial=serial_text(record.serial),
                **limited,
            )
            audit_chain.append(tx, entry)
            return record

        return await self._storage.write(transaction)

    async def remove(self, name: str, by: str) -> int:
        """Remove every certificate of an actor, from the next request on; return how many there were."""
        now = self._clock.now()

        def transaction(tx: Transaction) -> int:
            removed = rows.remove(tx, name, now, by)
            if not removed:
                raise NotFoundError(f"no actor {name}; see `pkiserver actor list`")
            profile_limits.lift(tx, name)
            audit_chain.append(tx, audit.entry(now, by, "actor.remove", name=name, certificates=removed))
            return removed

        return await self._storage.write(transaction)

    async def holder(self, record: CertificateRecord) -> ActorRecord | None:
        """Return the actor for whom a certificate speaks now, or None; its status the caller looks up."""
        return await self._storage.read(lambda tx: rows.with_certificate(tx, record.authority, record.serial))


def has_usage(certificate: x509.Certificate, usage: str) -> bool:
    """Return whether a certificate of ours has an extended key usage."""
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return x509.ObjectIdentifier(usage) in extended
