"""Commands on applications, up to the credential that enrols."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.registration import office_worker, values_of
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, parse_after
from pkiserver.errors import RefusedError
from pkiserver.ra.credentials import Use
from pkiserver.ra.registration import states
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.registry import IdentityProof, ProofKind
from protocols.x509.certificate import serial_text
from store import applications
from store.applications import ApplicationRecord


def _application(record: ApplicationRecord) -> dict[str, Any]:
    serial = serial_text(record.serial) if record.serial is not None else None
    return values_of(record) | {"serial": serial}


async def create_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    office: str,
    fields: dict[str, Any],
    channel: str,
    carrier: str,
    profile: str,
    delivery: str = "office",
) -> dict[str, Any]:
    new = NewApplication(office, fields, channel, carrier, profile, delivery)
    return _application(await services.registration.applications.draft(office_worker(caller), new))


async def list_applications(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    state: str | None,
    office: str | None,
    limit: int,
    after: str | None = None,
) -> list[dict[str, Any]]:
    chosen = states.State(state) if state in {one.value for one in states.State} else None
    if state is not None and chosen is None:
        raise RefusedError("there is no such state of an application")
    found = await services.registration.application_search.newest(
        office_worker(caller), state=chosen, office=office, before=parse_after(after), limit=limit
    )
    return [_application(one) for one in found]


async def show_application(
    services: CommandServices, caller: Caller, /, *, application: int
) -> dict[str, Any]:
    shown = await services.registration.applications.show(office_worker(caller), application)
    return _application(shown.record) | {
        "form": dict(shown.form) if shown.form is not None else None,
        "events": [values_of(one) for one in shown.events],
    }


async def verify_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    fingerprint: str | None,
    reason: str | None,
    version: int | None,
) -> dict[str, Any]:
    if (fingerprint is None) == (reason is None):
        raise RefusedError("an identity is proved by a fingerprint's check, or by numbers with a reason")
    proof = (
        IdentityProof.of(ProofKind.FINGERPRINT.value, fingerprint)
        if fingerprint is not None
        else IdentityProof.of(ProofKind.REGISTER_NUMBERS.value, reason or "")
    )
    seen = await _seen(services, application, version)
    verified = await services.registration.applications.verify(
        office_worker(caller), application, seen, proof
    )
    return _application(verified)


async def return_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    ground: str,
    fields: list[str],
    version: int | None,
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    returned = await services.registration.applications.send_back(
        office_worker(caller), application, seen, ground, tuple(fields)
    )
    return _application(returned)


async def withdraw_application(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int,
    ground: str,
    version: int | None,
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    withdrawn = await services.registration.applications.withdraw(
        office_worker(caller), application, seen, ground
    )
    return _application(withdrawn)


async def issue_application(
    services: CommandServices, caller: Caller, /, *, application: int, use: Use, version: int | None
) -> dict[str, Any]:
    seen = await _seen(services, application, version)
    new = await services.registration.issuing.begin(office_worker(caller), application, seen, use)
    return {"reference": new.reference, "secret": new.secret, "expires_at": new.expires_at.isoformat()}


async def _seen(services: CommandServices, application: int, version: int | None) -> int:
    """Return the version that the caller saw: the one they name, else that of now."""
    if version is not None:
        return version
    found = await services.storage.read(lambda tx: applications.get(tx, application))
    return found.version if found else 0


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "application.create": CommandEntry(create_application),
    "application.list": CommandEntry(list_applications, reading=True),
    "application.show": CommandEntry(show_application, reading=True),
    "application.verify": CommandEntry(verify_application),
    "application.return": CommandEntry(return_application),
    "application.withdraw": CommandEntry(withdraw_application),
    "application.issue": CommandEntry(issue_application),
}
