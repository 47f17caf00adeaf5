"""What the command line can ask for, by name: one table, for a running server and for a stopped one."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ConfigDict, ValidationError, validate_call

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.hierarchy import Hierarchy
from pkiserver.ca.outside_root import OutsideRoot
from pkiserver.ca.server_certificates import ServerCertificates
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError, RefusedError
from pkiserver.progress import Progress
from pkiserver.ra import credentials as credential_rules
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.lifecycle import REVOCATION_REASONS, Action, Command, HoldOwner, Standing, State
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.readiness import ClockGuard, accept_clock
from pkiserver.status.crl_publisher import CRLPublisher
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from protocols.errors import ErrorKind, ProtocolError
from protocols.x509.certificate import serial_text
from protocols.x509.names import subject_text
from store import audit as audit_chain
from store import certificates, crl_entries, status_events
from store import credentials as credential_rows
from store.database import Transaction
from store.records import CertificateRecord

MAX_CREDENTIAL_LIFETIME_S: Final = 10 * 366 * 86_400  # beyond it is a slip of the keyboard
AUDIT_PAGE: Final = 2000
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]{1,64}")
_strict = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))

# These change nothing; the refusals of all others are audited.
READING: Final = frozenset(
    {
        "credential.list",
        "certificate.list",
        "certificate.show",
        "ca.list",
        "ca.show",
        "ca.export",
        "audit.verify",
        "audit.head",
        "audit.list",
    }
)


@dataclass(frozen=True, slots=True)
class CommandServices:
    """What the commands work with."""

    storage: Storage
    clock: Clock
    authorities: Authorities
    credentials: Credentials
    status_changes: StatusChanges
    crl_publisher: CRLPublisher
    hierarchy: Hierarchy
    outside_root: OutsideRoot
    server_certificates: ServerCertificates
    clock_guard: ClockGuard
    on_authorities_changed: Callable[[], None]


class Caller:
    """Who gave a command, and how to tell them how far it is."""

    __slots__ = ("actor", "progress")

    def __init__(self, actor: str, progress: Progress) -> None:
        self.actor = actor
        self.progress = progress


class Commands:
    """Runs commands by name. Results are JSON values; times are ISO 8601 in UTC, serials hexadecimal."""

    def __init__(self, services: CommandServices) -> None:
        self._services = services
        self._storage = services.storage
        self._clock = services.clock
        self._authorities = services.authorities
        self._table: Mapping[str, Callable[..., Awaitable[Any]]] = {
            "credential.create": self.create_credential,
            "credential.list": self.list_credentials,
            "credential.cancel": self.cancel_credential,
            "certificate.list": self.list_certificates,
            "certificate.show": self.show_certificate,
            "certificate.suspend": self.suspend,
            "certificate.restore": self.restore,
            "certificate.revoke": self.revoke,
            "ca.list": self.list_authorities,
            "ca.show": self.show_authority,
            "ca.export": self.export_authority,
            "ca.csr": self.authority_csr,
            "ca.import": self.import_authority,
            "crl.publish": self.publish_crls,
            "audit.list": self.list_audit,
            "clock.accept": self.accept_clock,
            "audit.verify": self.verify_audit,
            "audit.head": self.audit_head,
        }

    async def run(self, command: str, arguments: dict[str, Any], actor: str, progress: Progress) -> Any:
        """Carry out a command; `NotFoundError`, `RefusedError` for wrong arguments, or the command's own."""
        handler = self._table.get(command)
        if handler is None:
            raise NotFoundError(f"no command {command}: client and server are of different versions")
        try:
            return await self._checked(handler, command, Caller(actor, progress), arguments)
        except (PKIServerError, ProtocolError) as error:
            if command not in READING and error.kind is not ErrorKind.UNAVAILABLE:
                await self._record_refusal(command, actor, error)
            raise

    async def _checked(
        self, handler: Callable[..., Awaitable[Any]], command: str, caller: Caller, arguments: dict[str, Any]
    ) -> Any:
        try:
            json.dumps(arguments, ensure_ascii=False).encode()  # fails for what is no Unicode text
            return await _strict(handler)(caller, **arguments)
        except (ValidationError, UnicodeEncodeError) as error:
            raise RefusedError(f"wrong arguments for {command}") from error

    async def _record_refusal(self, command: str, actor: str, error: PKIServerError | ProtocolError) -> None:
        # The message may quote what was typed, a name or a serial.
        entry = audit.entry(
            self._clock.now(),
            actor,
            command,
            "refused",
            kind=error.kind.value,
            personal={"reason": str(error)},
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))

    async def create_credential(
        self,
        caller: Caller,
        *,
        profile: str,
        subject: str,
        san: list[str],
        limit_mnt: int | None,
        uses: int,
        lifetime_s: int | None,
    ) -> dict[str, Any]:
        if lifetime_s is not None and not 0 < lifetime_s <= MAX_CREDENTIAL_LIFETIME_S:
            raise RefusedError("a credential lives for at least a second and at most ten years")
        new = await self._services.credentials.create(
            profile=profile,
            subject=subject,
            san=tuple(san),
            limit_mnt=limit_mnt,
            uses=uses,
            lifetime=timedelta(seconds=lifetime_s) if lifetime_s is not None else None,
            actor=caller.actor,
        )
        return {"reference": new.reference, "secret": new.secret, "expires_at": new.expires_at.isoformat()}

    async def list_credentials(self, _: Caller) -> list[dict[str, Any]]:
        now = self._clock.now()
        found = await self._storage.read(lambda tx: credential_rows.newest(tx, MAX_LIST))
        return [
            {
                "reference": record.reference,
                "profile": record.profile,
                "subject": record.subject,
                "state": credential_rules.state(record, now),
                "uses_left": record.uses_left,
                "expires_at": record.expires_at.isoformat(),
            }
            for record in found
        ]

    async def cancel_credential(self, caller: Caller, *, reference: str) -> dict[str, Any]:
        await self._services.credentials.cancel(reference, caller.actor)
        return {"reference": reference, "state": "cancelled"}

    async def list_certificates(
        self, _: Caller, *, ca: str | None, state: str | None, limit: int
    ) -> list[dict[str, Any]]:
        authority = self._authorities.record(ca).id if ca is not None else None
        limit, now = max(1, min(limit, MAX_LIST)), self._clock.now()
        found = await self._storage.read(
            lambda tx: certificates.newest(tx, authority=authority, state=state, now=now, limit=limit)
        )
        return [self._summary(record) for record in found]

    async def show_certificate(self, _: Caller, *, serial: str, ca: str | None) -> dict[str, Any]:
        record = await self._certificate(serial, ca)
        named = (record.authority, record.serial)
        events = await self._storage.read(lambda tx: status_events.of_certificate(tx, *named))
        revocation = await self._storage.read(lambda tx: crl_entries.current(tx, *named))
        certificate = x509.load_der_x509_certificate(record.certificate)
        return self._summary(record) | {
            "revoked_at": revocation.revoked_at.isoformat() if revocation else None,
            "reason": CRLReason(revocation.reason).name if revocation else None,
            "sha256": certificate.fingerprint(SHA256()).hex(),
            "events": [
                {
                    "sequence": event.sequence,
                    "at": event.effective_at.isoformat(),
                    "to": event.to_state,
                    "actor": event.actor,
                }
                for event in events
            ],
            "pem": certificate.public_bytes(Encoding.PEM).decode(),
        }

    async def suspend(self, caller: Caller, *, serial: str, ca: str | None, by: str) -> dict[str, Any]:
        return await self._change(caller, serial, ca, Command(Action.SUSPEND, _owner(by)))

    async def restore(self, caller: Caller, *, serial: str, ca: str | None, by: str) -> dict[str, Any]:
        return await self._change(caller, serial, ca, Command(Action.RESTORE, _owner(by)))

    async def revoke(self, caller: Caller, *, serial: str, ca: str | None, reason: str) -> dict[str, Any]:
        if reason not in REVOCATION_REASONS:
            raise RefusedError(f"no reason {reason}: there are {', '.join(REVOCATION_REASONS)}")
        return await self._change(
            caller, serial, ca, Command(Action.REVOKE, reason=REVOCATION_REASONS[reason])
        )

    async def list_authorities(self, _: Caller) -> list[dict[str, Any]]:
        return [
            self._authority(self._authorities.get(record.name))
            if record.certificate
            else {"name": record.name, "state": "waits for its certificate"}
            for record in self._authorities.records
        ]

    async def show_authority(self, _: Caller, *, name: str) -> dict[str, Any]:
        authority = self._authorities.get(name)
        responder = self._authorities.responder(authority.id)
        crl = self._services.crl_publisher.latest.get(name)
        return self._authority(authority) | {
            "serial": serial_text(authority.certificate.serial_number),
            "sha256": authority.certificate.fingerprint(SHA256()).hex(),
            "responder_not_after": responder.certificate.not_valid_after_utc.isoformat()
            if responder
            else None,
            "crl_number": crl.number if crl else None,
            "crl_this_update": crl.this_update.isoformat() if crl else None,
            "crl_next_update": crl.next_update.isoformat() if crl else None,
            "pem": authority.certificate.public_bytes(Encoding.PEM).decode(),
        }

    async def export_authority(self, _: Caller, *, name: str, chain: bool) -> dict[str, Any]:
        found = self._authorities.chain(name) if chain else [self._authorities.get(name)]
        return {"certificates": [a.certificate.public_bytes(Encoding.PEM).decode() for a in found]}

    async def authority_csr(self, caller: Caller, *, name: str) -> dict[str, Any]:
        request = x509.load_der_x509_csr(await self._services.outside_root.csr(name, caller.actor))
        return {"pem": request.public_bytes(Encoding.PEM).decode()}

    async def import_authority(self, caller: Caller, *, name: str, pem: str) -> dict[str, Any]:
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
        except ValueError as error:
            raise RefusedError("the file holds no certificate in PEM") from error
        await self._services.outside_root.import_certificate(name, certificate, caller.actor)
        await self._services.hierarchy.maintain(caller.progress)
        await self._services.server_certificates.maintain(caller.progress)
        await self._services.crl_publisher.restore_files()  # its certificate, where AIA points
        self._services.on_authorities_changed()
        return self._authority(self._authorities.get(name))

    async def publish_crls(self, caller: Caller, *, ca: str | None) -> list[dict[str, Any]]:
        names = [ca] if ca is not None else [a.name for a in self._authorities if a.key_label is not None]
        published = []
        for done, name in enumerate(names):
            caller.progress(f"CRL of {name}", done, len(names))
            record = await self._services.crl_publisher.publish(name, caller.actor)
            published.append(
                {
                    "ca": name,
                    "number": record.number,
                    "this_update": record.this_update.isoformat(),
                    "next_update": record.next_update.isoformat(),
                }
            )
        return published

    async def list_audit(self, _: Caller, *, limit: int) -> list[dict[str, Any]]:
        number = max(1, min(limit, MAX_LIST))
        found = await self._storage.read(lambda tx: audit_chain.newest(tx, number))
        return [audit.as_json(record) for record in found]

    async def accept_clock(self, caller: Caller) -> dict[str, Any]:
        now = self._clock.now()
        entry = audit.entry(now, caller.actor, "clock.accept", accepted=now.isoformat())

        def transaction(tx: Transaction) -> None:
            accept_clock(tx, now)
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        self._services.clock_guard.accept()
        return {"accepted": now.isoformat()}

    async def verify_audit(self, caller: Caller, *, head: str | None) -> dict[str, Any]:
        verifier = audit.ChainVerifier(audit.Head.parse(head) if head is not None else None)
        total = audit.Head.of(await self._storage.read(audit_chain.head)).sequence
        while page := await self._storage.read(
            lambda tx: audit_chain.after(tx, verifier.records, AUDIT_PAGE)
        ):
            verifier.check(page)
            caller.progress("audit records", verifier.records, total)
        end = verifier.finish()
        return {"records": verifier.records, "sequence": end.sequence, "hash": end.hash}

    async def audit_head(self, _: Caller) -> dict[str, Any]:
        end = audit.Head.of(await self._storage.read(audit_chain.head))
        return {"sequence": end.sequence, "hash": end.hash}

    async def _change(self, caller: Caller, serial: str, ca: str | None, command: Command) -> dict[str, Any]:
        record = await self._certificate(serial, ca)
        changed = await self._services.status_changes.carry_out(
            record.authority, record.serial, command, caller.actor
        )
        return self._summary(record) | {
            "status": changed.change.to_state.value,
            "sequence": changed.sequence,
        }

    async def _certificate(self, serial: str, ca: str | None) -> CertificateRecord:
        """Return the certificate with this serial; `ConflictError` where `ca` must say which."""
        number = parse_serial(serial)
        found = await self._storage.read(lambda tx: certificates.with_serial(tx, number))
        if ca is not None:
            authority = self._authorities.record(ca).id
            found = [record for record in found if record.authority == authority]
        if not found:
            raise NotFoundError(
                f"no certificate with serial {serial_text(number)}; see `pkiserver certificate list`"
            )
        if len(found) > 1:
            raise ConflictError(
                f"several authorities issued serial {serial_text(number)}: say which with --ca"
            )
        return found[0]

    def _summary(self, record: CertificateRecord) -> dict[str, Any]:
        state = Standing(State(record.state), record.not_after).at(self._clock.now())
        return {
            "ca": self._authorities.record_with_id(record.authority).name,
            "serial": serial_text(record.serial),
            "subject": record.subject,
            "profile": record.profile,
            "status": state.value,
            "not_before": record.not_before.isoformat(),
            "not_after": record.not_after.isoformat(),
        }

    def _authority(self, authority: Authority) -> dict[str, Any]:
        certificate = authority.certificate
        return {
            "name": authority.name,
            "state": "ready" if authority.key_label is not None else "kept outside",
            "subject": subject_text(certificate.subject),
            "parent": authority.parent,
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }


def _owner(text: str) -> HoldOwner:
    try:
        return HoldOwner(text)
    except ValueError as error:
        raise RefusedError(f"a hold is the holder's or the authority's, not {text[:60]!r}") from error


def parse_serial(text: str) -> int:
    """Return a serial typed in hexadecimal, colons allowed; `RefusedError` for anything else."""
    digits = text.replace(":", "")
    if _HEXADECIMAL.fullmatch(digits) is None:
        raise RefusedError(f"{text[:60]!r} is no serial number in hexadecimal")
    serial = int(digits, 16)
    if not 0 < serial < 1 << 127:
        raise NotFoundError(f"no certificate with serial {text[:60]!r}: it is out of range")
    return serial
