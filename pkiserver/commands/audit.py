"""Commands on the audit log."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from store import audit as audit_chain

AUDIT_PAGE: Final = 2000


async def list_audit(services: CommandServices, _caller: Caller, /, *, limit: int) -> list[dict[str, Any]]:
    number = max(1, min(limit, MAX_LIST))
    found = await services.storage.read(lambda tx: audit_chain.newest(tx, number))
    return [audit.as_json(record) for record in found]


async def verify_audit(services: CommandServices, caller: Caller, /, *, head: str | None) -> dict[str, Any]:
    verifier = audit.ChainVerifier(audit.Head.parse(head) if head is not None else None)
    total = audit.Head.of(await services.storage.read(audit_chain.head)).sequence
    while page := await services.storage.read(lambda tx: audit_chain.after(tx, verifier.records, AUDIT_PAGE)):
        verifier.check(page)
        caller.progress("audit records", verifier.records, total)
    end = verifier.finish()
    return {"records": verifier.records, "sequence": end.sequence, "hash": end.hash}


async def audit_head(services: CommandServices, _caller: Caller, /) -> dict[str, Any]:
    end = audit.Head.of(await services.storage.read(audit_chain.head))
    return {"sequence": end.sequence, "hash": end.hash}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "audit.list": CommandEntry(list_audit, reading=True),
    "audit.verify": CommandEntry(verify_audit, reading=True),
    "audit.head": CommandEntry(audit_head, reading=True),
}
