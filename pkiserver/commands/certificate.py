"""Commands on issued certificates: look at them, change their status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, certificate_of
from pkiserver.errors import RefusedError
from pkiserver.ra.lifecycle import REVOCATION_REASONS, Action, Command, HoldOwner, Standing, State
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from store import certificates, crl_entries, status_events
from store.records import CertificateRecord


async def list_certificates(
    services: CommandServices,
    _caller: Caller,
    /,
    *,
    ca: str | None,
    state: str | None,
    limit: int,
    after: str | None = None,
) -> list[dict[str, Any]]:
    last = None if after is None else certificates.place(await certificate_of(services, after, ca))
    issuers = services.authorities.ids(ca) if ca is not None else None
    limit, now = max(1, min(limit, MAX_LIST)), services.clock.now()
    found = await services.storage.read(
        lambda tx: certificates.newest(tx, authorities=issuers, state=state, now=now, limit=limit, after=last)
    )
    return [_summary(services, record) for record in found]


async def show_certificate(
    services: CommandServices, _caller: Caller, /, *, serial: str, ca: str | None
) -> dict[str, Any]:
    record = await certificate_of(services, serial, ca)
    named = (record.authority, record.serial)
    events = await services.storage.read(lambda tx: status_events.of_certificate(tx, *named))
    revocation = await services.storage.read(lambda tx: crl_entries.current(tx, *named))
    certificate = x509.load_der_x509_certificate(record.certificate)
    return _summary(services, record) | {
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


async def suspend(
    services: CommandServices, caller: Caller, /, *, serial: str, ca: str | None, by: str
) -> dict[str, Any]:
    return await _change(services, caller, serial, ca, Command(Action.SUSPEND, _owner(by)))


async def restore(
    services: CommandServices, caller: Caller, /, *, serial: str, ca: str | None, by: str
) -> dict[str, Any]:
    return await _change(services, caller, serial, ca, Command(Action.RESTORE, _owner(by)))


async def revoke(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    serial: str,
    ca: str | None,
    reason: str,
    invalidity_date: str | None = None,
) -> dict[str, Any]:
    if reason not in REVOCATION_REASONS:
        raise RefusedError(f"no reason {reason}: there are {', '.join(REVOCATION_REASONS)}")
    command = Command(
        Action.REVOKE,
        reason=REVOCATION_REASONS[reason],
        invalid_since=_moment(invalidity_date) if invalidity_date is not None else None,
    )
    return await _change(services, caller, serial, ca, command)


async def _change(
    services: CommandServices, caller: Caller, serial: str, ca: str | None, command: Command
) -> dict[str, Any]:
    record = await certificate_of(services, serial, ca)
    changed = await services.status_changes.carry_out(record.authority, record.serial, command, caller.actor)
    return _summary(services, record) | {
        "status": changed.change.to_state.value,
        "sequence": changed.sequence,
    }


def _summary(services: CommandServices, record: CertificateRecord) -> dict[str, Any]:
    state = Standing(State(record.state), record.not_after).at(services.clock.now())
    return {
        "ca": services.authorities.record_with_id(record.authority).handle,
        "serial": serial_text(record.serial),
        "subject": record.subject,
        "profile": record.profile,
        "status": state.value,
        "not_before": record.not_before.isoformat(),
        "not_after": record.not_after.isoformat(),
    }


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError(f"{text[:60]!r} is no time: write it as 2026-01-31T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def _owner(text: str) -> HoldOwner:
    try:
        return HoldOwner(text)
    except ValueError as error:
        raise RefusedError(f"a hold is the holder's or the authority's, not {text[:60]!r}") from error


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "certificate.list": CommandEntry(list_certificates, reading=True),
    "certificate.show": CommandEntry(show_certificate, reading=True),
    "certificate.suspend": CommandEntry(suspend),
    "certificate.restore": CommandEntry(restore),
    "certificate.revoke": CommandEntry(revoke),
}
