"""Commands on the clock."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.readiness import accept_clock as accept
from store import audit as audit_chain
from store.database import Transaction


async def accept_clock(services: CommandServices, caller: Caller, /) -> dict[str, Any]:
    now = services.clock.now()
    entry = audit.entry(now, caller.actor, "clock.accept", accepted=now.isoformat())

    def transaction(tx: Transaction) -> None:
        accept(tx, now)
        audit_chain.append(tx, entry)

    await services.storage.write(transaction)
    services.clock_guard.accept()
    return {"accepted": now.isoformat()}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "clock.accept": CommandEntry(accept_clock),
}
