"""What the commands work with and how one is described; the certificate that a caller means."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pkiserver.audit_heads.export import AuditExport
from pkiserver.audit_heads.heads import AuditHeads
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.hierarchy import Hierarchy
from pkiserver.ca.outside_root import OutsideRoot
from pkiserver.ca.rollover import Rollover
from pkiserver.ca.rollover_withdrawal import RolloverWithdrawal
from pkiserver.ca.server_certificates import ServerCertificates
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.progress import GiveFile, Progress
from pkiserver.ra.actors import Actors
from pkiserver.ra.approval import Approvals
from pkiserver.ra.archive import Archive
from pkiserver.ra.compromise import Compromise
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.key_revocation import KeyRevocation
from pkiserver.ra.registration.services import Registration
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.role_grants import RoleGrants
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.readiness import ClockGuard
from pkiserver.signer.client import Signer
from pkiserver.status.crl_publisher import CRLPublisher
from pkiserver.status.evidence import Evidence
from pkiserver.status.presigning import Presigning
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import certificates
from store.records import CertificateRecord

_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]{1,64}")


@dataclass(frozen=True, slots=True)
class CommandServices:
    """What the commands work with."""

    storage: Storage
    signer: Signer
    clock: Clock
    authorities: Authorities
    credentials: Credentials
    approvals: Approvals
    actors: Actors
    role_grants: RoleGrants
    registration_clients: RegistrationClients
    registration: Registration
    status_changes: StatusChanges
    crl_publisher: CRLPublisher
    presigning: Presigning
    hierarchy: Hierarchy
    rollover: Rollover
    rollover_withdrawal: RolloverWithdrawal
    key_revocation: KeyRevocation
    compromise: Compromise
    outside_root: OutsideRoot
    server_certificates: ServerCertificates
    clock_guard: ClockGuard
    evidence: Evidence
    archive: Archive
    audit_heads: AuditHeads
    audit_export: AuditExport
    on_authorities_changed: Callable[[], None]


class Caller:
    """Who gave a command, how to tell them how far it is, and how to give them files."""

    __slots__ = ("actor", "give_file", "progress")

    def __init__(self, actor: str, progress: Progress, give_file: GiveFile) -> None:
        self.actor = actor
        self.progress = progress
        self.give_file = give_file


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command: an async function of (services, caller, /, *, its arguments) that returns JSON values."""

    run: Callable[..., Awaitable[Any]]
    reading: bool = False  # it changes nothing; the refusals of all others are audited


async def certificate_of(services: CommandServices, serial: str, ca: str | None) -> CertificateRecord:
    """Return the certificate with this serial; `ConflictError` where `ca` must say which."""
    number = parse_serial(serial)
    found = await services.storage.read(lambda tx: certificates.with_serial(tx, number))
    if ca is not None:
        issuers = services.authorities.ids(ca)
        found = [record for record in found if record.authority in issuers]
    if not found:
        raise NotFoundError(
            f"no certificate with serial {serial_text(number)}; see `pkiserver certificate list`"
        )
    if len(found) > 1:
        raise ConflictError(f"several authorities issued serial {serial_text(number)}: say which with --ca")
    return found[0]


def parse_after(text: str | None) -> int | None:
    """Return the number of the row behind which a list goes on; `RefusedError` for what is no number."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise RefusedError("a list goes on behind the number of a row, the last that was listed")
    return int(text)


def parse_serial(text: str) -> int:
    """Return a serial typed in hexadecimal, colons allowed; `RefusedError` for anything else."""
    digits = text.replace(":", "")
    if _HEXADECIMAL.fullmatch(digits) is None:
        raise RefusedError(f"{text[:60]!r} is no serial number in hexadecimal")
    serial = int(digits, 16)
    if not 0 < serial < 1 << 127:
        raise NotFoundError(f"no certificate with serial {text[:60]!r}: it is out of range")
    return serial
