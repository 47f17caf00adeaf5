"""Commands on what follows a key of an authority."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pkiserver.ca.authorities import COMING
from pkiserver.clock import utc_text
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.commands.status import parse_time
from pkiserver.errors import PKIServerError
from pkiserver.ra.lifecycle import Action, Command
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from store import authorities as rows
from store import certificates
from store.records import AuthorityRecord

_NEVER_USED: Final = Command(Action.REVOKE, reason=CRLReason.CESSATION_OF_OPERATION)
_NEXT: Final[Mapping[str, str]] = {
    "prepared": "publish it: pkiserver ca rollover {name} --publish",
    "published": "activate it once it is known: pkiserver ca rollover {name} --activate",
    "active": "",
    "retiring": "end it when nothing of it is in use: pkiserver crl publish --last --ca {exact}",
    "ended": "",
    "compromised": "have a new key take its place: pkiserver ca rollover {name} --prepare",
    "dropped": "",
}


async def rollover_status(
    services: CommandServices, _caller: Caller, /, *, name: str
) -> list[dict[str, Any]]:
    now = services.clock.now()
    counts = await services.storage.read(
        lambda tx: {
            record.id: certificates.count_by_state(tx, record.id, now)
            for record in services.authorities.generations(name)
        }
    )
    return [_row(services, record, counts[record.id]) for record in services.authorities.generations(name)]


async def prepare(services: CommandServices, caller: Caller, /, *, name: str) -> list[dict[str, Any]]:
    caller.progress(f"key and certificate of the next {name}")
    await services.rollover.prepare(name, caller.actor)
    return await rollover_status(services, caller, name=name)


async def publish(services: CommandServices, caller: Caller, /, *, name: str) -> list[dict[str, Any]]:
    caller.progress(f"OCSP signer of the next {name}")
    await services.rollover.publish(name, caller.actor)
    await services.crl_publisher.restore_files()  # its certificate, where AIA points
    services.on_authorities_changed()
    for record in services.authorities.generations(name):
        caller.progress(f"CRL of {record.handle}")
        await _publish_crl(services, caller, record)
    return await rollover_status(services, caller, name=name)


async def activate(
    services: CommandServices, caller: Caller, /, *, name: str, at: str | None
) -> list[dict[str, Any]]:
    moment: datetime | None = parse_time(at) if at is not None else None
    await services.rollover.activate(name, moment, caller.actor)
    try:
        await services.server_certificates.maintain(
            caller.progress
        )  # due where the former key is compromised
    except PKIServerError as error:  # the key is active nevertheless, and the server tries again
        caller.progress(str(error))
    services.on_authorities_changed()
    return await rollover_status(services, caller, name=name)


async def cancel(services: CommandServices, caller: Caller, /, *, name: str) -> list[dict[str, Any]]:
    await services.rollover_withdrawal.cancel(name, caller.actor)
    return await rollover_status(services, caller, name=name)


async def drop(services: CommandServices, caller: Caller, /, *, name: str) -> list[dict[str, Any]]:
    """Revoke first: cut short, what is left of it is not trusted, and dropped by the next try."""
    coming = services.rollover_withdrawal.coming(name)
    if coming.certificate is not None:
        authority = services.authorities.with_id(coming.id)
        revoked = await services.key_revocation.revoke_above(authority, _NEVER_USED, caller.actor)
        caller.progress(f"revoked {', '.join(serial_text(one.serial) for one in revoked) or 'nothing'}")
        if services.key_revocation.is_outside(authority):
            serial = serial_text(authority.certificate.serial_number)
            caller.progress(f"have the outside root revoke {serial} and publish its CRL")
    dropped = await services.rollover_withdrawal.drop(coming, caller.actor)
    await services.crl_publisher.remove_files(dropped)
    for label in await services.storage.read(lambda tx: rows.labels_of(tx, dropped.id)):
        caller.progress(f"its key {label} stays; to delete it: {services.signer.removal_command(label)}")
    services.on_authorities_changed()
    return await rollover_status(services, caller, name=name)


async def _publish_crl(services: CommandServices, caller: Caller, record: AuthorityRecord) -> None:
    """Publish a CRL that says whose certificates it is of, now that another key signs under the name."""
    if record.key_label is None or record.state not in ("active", "retiring", "published"):
        return
    try:
        await services.crl_publisher.publish(f"{record.name}.{record.generation}", caller.actor)
    except PKIServerError as error:  # the key is published nevertheless, and the publisher tries again
        caller.progress(f"CRL of {record.handle} not yet: {error}")


def _row(services: CommandServices, record: AuthorityRecord, counts: Mapping[str, int]) -> dict[str, Any]:
    known = services.authorities.with_id(record.id) if record.certificate else None
    waits = known is None and record.state in COMING
    step = "import its certificate: pkiserver ca import {exact} FILE" if waits else _NEXT[record.state]
    if record.state == "compromised" and is_at_work(services, record.name):
        step = ""
    if record.activate_at:
        step = "it is activated then, while the server runs"
    exact = f"{record.name}.{record.generation}"
    return {
        "name": services.authorities.shown_name(record),
        "generation": record.generation,
        "state": record.state,
        "not_after": known.certificate.not_valid_after_utc.isoformat() if known else None,
        "activate_at": utc_text(record.activate_at) if record.activate_at else None,
        "certificates": counts["active"] + counts["suspended"],
        "next": step.format(name=record.name, exact=exact),
    }


def is_at_work(services: CommandServices, name: str) -> bool:
    """Return whether an authority has a key that issues."""
    return any(one.state == "active" for one in services.authorities.generations(name))


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "ca.rollover.status": CommandEntry(rollover_status, reading=True),
    "ca.rollover.prepare": CommandEntry(prepare),
    "ca.rollover.publish": CommandEntry(publish),
    "ca.rollover.activate": CommandEntry(activate),
    "ca.rollover.cancel": CommandEntry(cancel),
    "ca.rollover.drop": CommandEntry(drop),
}
