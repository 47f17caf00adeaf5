"""Commands around backups: the command line makes them itself, and the audit log tells of them."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from store import audit as audit_chain

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def begin_backup(services: CommandServices, caller: Caller, /) -> dict[str, Any]:
    """Record that somebody is about to take a copy of everything; return who the log says it is."""
    entry = audit.entry(services.clock.now(), caller.actor, "backup.begin")
    await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    return {"actor": caller.actor}


async def finish_backup(services: CommandServices, caller: Caller, /, *, sha256: str) -> dict[str, Any]:
    """Record which file it became."""
    if _SHA256.fullmatch(sha256) is None:
        raise RefusedError("that is no SHA-256 of a backup")
    entry = audit.entry(services.clock.now(), caller.actor, "backup.done", sha256=sha256)
    await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    return {"sha256": sha256}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "backup.begin": CommandEntry(begin_backup),
    "backup.done": CommandEntry(finish_backup),
}
