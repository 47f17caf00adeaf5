"""Commands on what is handed over to the archive."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pkiserver.archive.manifest import MANIFEST, PACKAGE, SIGNATURES
from pkiserver.commands.registration import office_worker
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.archive import Subject
from pkiserver.ra.purges import WAITS

RECEIPT: Final = "receipt.json"
RECEIPT_SIGNATURE: Final = "receipt.p7s"


async def pending_units(
    services: CommandServices, caller: Caller, /, *, until: str | None
) -> list[dict[str, Any]]:
    # Times are whole seconds: what ended within this one has ended.
    moment = services.clock.now() + timedelta(seconds=1) if until is None else _moment(until)
    found = await services.archive.pending(office_worker(caller), moment)
    return [{"application": one.application, "case": one.case} for one in found]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError("a time is written as 2026-07-10T00:00:00+08:00") from error
    if moment.tzinfo is None:
        raise RefusedError("a time names its zone, as 2026-07-10T00:00:00+08:00")
    return moment


async def give_unit(
    services: CommandServices, caller: Caller, /, *, application: int | None, case: int | None
) -> dict[str, Any]:
    if (application is None) == (case is None):
        raise RefusedError("an archive unit is of one application or one case")
    subject = Subject(application, case)
    unit = await services.archive.unit(office_worker(caller), subject)
    files = {**unit.files, MANIFEST: unit.record.manifest, SIGNATURES[MANIFEST]: unit.record.signature}
    for name, content in files.items():
        await caller.give_file(name, content)
    return {"unit": unit.record.id, "folder": subject.folder, "files": len(unit.files)}


async def seal_package(services: CommandServices, caller: Caller, /, *, units: list[int]) -> dict[str, Any]:
    made = await services.archive.seal(office_worker(caller), units)
    await caller.give_file(PACKAGE, made.manifest)
    await caller.give_file(SIGNATURES[PACKAGE], made.signature)
    return {"package": made.id, "units": len(units), "made_at": made.made_at.isoformat()}


async def record_receipt(
    services: CommandServices, caller: Caller, /, *, package: int, taken_by: str, number: str
) -> dict[str, Any]:
    taken = await services.archive.hand_over(office_worker(caller), package, taken_by, number)
    await caller.give_file(RECEIPT, taken.receipt or b"")
    await caller.give_file(RECEIPT_SIGNATURE, taken.receipt_signature or b"")
    return {"package": taken.id, "taken_at": taken.taken_at.isoformat() if taken.taken_at else None}


async def propose_purge(
    services: CommandServices, caller: Caller, /, *, kind: str, ground: str
) -> dict[str, Any]:
    asked = await services.registration.purges.propose(office_worker(caller), kind, ground)
    return {
        "purge": asked.id,
        "documents": len(asked.documents),
        "confirm_until": (asked.asked_at + WAITS).isoformat(),
    }


async def confirm_purge(services: CommandServices, caller: Caller, /, *, purge: int) -> dict[str, Any]:
    erased = await services.registration.purges.confirm(office_worker(caller), purge)
    return {"purge": purge, "erased": erased}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "archive.pending": CommandEntry(pending_units, reading=True),
    "archive.unit": CommandEntry(give_unit),
    "archive.seal": CommandEntry(seal_package),
    "archive.receipt": CommandEntry(record_receipt),
    "archive.purge": CommandEntry(propose_purge),
    "archive.confirm-purge": CommandEntry(confirm_purge),
}
