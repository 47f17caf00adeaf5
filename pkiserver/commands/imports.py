"""Commands for lists of officers."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.registration import office_worker
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.imports import ImportOptions


async def import_officers(
    services: CommandServices, caller: Caller, /, *, number: str, content: str, whole: bool, dry_run: bool
) -> dict[str, Any]:
    try:
        octets = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("the list is not in Base64") from error
    report = await services.registration.imports.run(
        office_worker(caller), number, octets, ImportOptions(whole, dry_run), caller.progress
    )
    return report.values()


COMMANDS: Final[Mapping[str, CommandEntry]] = {"organization.import": CommandEntry(import_officers)}
