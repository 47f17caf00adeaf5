"""What the command line can ask for, by name: one table, for a running server and for a stopped one.

One module a subject, each with its part of the table.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from pydantic import ConfigDict, ValidationError, validate_call

from pkiserver import audit as audit_entries
from pkiserver.commands import (
    actor,
    application,
    archive,
    audit,
    authority,
    backup,
    bulk,
    case,
    certificate,
    clock,
    compromise,
    credential,
    crl,
    document,
    enrollment,
    imports,
    ocsp,
    organization,
    plant,
    register,
    registration,
    registry,
    rollover,
    signer,
    status,
    token,
    webhook,
)
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import NotFoundError, PKIServerError, RefusedError
from pkiserver.progress import GiveFile, Progress, no_files
from protocols.errors import ErrorKind, ProtocolError
from store import audit as audit_chain

COMMANDS: Final[Mapping[str, CommandEntry]] = {
    **credential.COMMANDS,
    **enrollment.COMMANDS,
    **actor.COMMANDS,
    **registration.COMMANDS,
    **organization.COMMANDS,
    **application.COMMANDS,
    **imports.COMMANDS,
    **token.COMMANDS,
    **case.COMMANDS,
    **document.COMMANDS,
    **webhook.COMMANDS,
    **archive.COMMANDS,
    **register.COMMANDS,
    **bulk.COMMANDS,
    **registry.COMMANDS,
    **plant.COMMANDS,
    **certificate.COMMANDS,
    **authority.COMMANDS,
    **backup.COMMANDS,
    **rollover.COMMANDS,
    **compromise.COMMANDS,
    **crl.COMMANDS,
    **ocsp.COMMANDS,
    **signer.COMMANDS,
    **status.COMMANDS,
    **audit.COMMANDS,
    **clock.COMMANDS,
}


@cache  # to make it takes some hundredths of a second, for each of the table's functions
def _strict(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function that refuses arguments which are not of its types."""
    return validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))(run)


class Commands:
    """Runs commands by name. Results are JSON values; times are ISO 8601 in UTC, serials hexadecimal."""

    def __init__(self, services: CommandServices) -> None:
        self._services = services

    async def run(
        self,
        command: str,
        arguments: dict[str, Any],
        actor: str,
        progress: Progress,
        give_file: GiveFile = no_files,
    ) -> Any:
        """Carry out a command; `NotFoundError`, `RefusedError` for wrong arguments, or the command's own."""
        entry = COMMANDS.get(command)
        if entry is None:
            raise NotFoundError(f"no command {command}: client and server are of different versions")
        try:
            return await self._checked(entry, command, Caller(actor, progress, give_file), arguments)
        except (PKIServerError, ProtocolError) as error:
            if not entry.reading and error.kind is not ErrorKind.UNAVAILABLE:
                await self._record_refusal(command, actor, error)
            raise

    async def _checked(
        self, entry: CommandEntry, command: str, caller: Caller, arguments: dict[str, Any]
    ) -> Any:
        try:
            json.dumps(arguments, ensure_ascii=False).encode()  # fails for what is no Unicode text
            return await _strict(entry.run)(self._services, caller, **arguments)
        except (ValidationError, UnicodeEncodeError) as error:
            raise RefusedError(f"wrong arguments for {command}") from error

    async def _record_refusal(self, command: str, actor: str, error: PKIServerError | ProtocolError) -> None:
        # The message may quote what was typed, a name or a serial.
        entry = audit_entries.entry(
            self._services.clock.now(),
            actor,
            command,
            "refused",
            kind=error.kind.value,
            personal={"reason": str(error)},
        )
        await self._services.storage.write(lambda tx: audit_chain.append(tx, entry))
