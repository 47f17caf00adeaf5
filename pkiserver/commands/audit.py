"""Commands on the audit log."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.audit_heads.signed_head import SignedHead
from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
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
    heads = await services.audit_heads.checker.check_kept(caller.progress)
    return {"records": verifier.records, "sequence": end.sequence, "hash": end.hash, "heads": heads}


async def check_heads(
    services: CommandServices, _caller: Caller, /, *, heads: list[str], first: int
) -> dict[str, Any]:
    """Check heads that were kept elsewhere, in Base64; the first is called head number `first`."""
    for number, text in enumerate(heads, start=first):
        name = f"given head {number}"
        await services.audit_heads.checker.check(_given(text, name), name)
    return {"checked": len(heads)}


def _given(text: str, name: str) -> SignedHead:
    try:
        return SignedHead.parse(base64.b64decode(text, validate=True))
    except (binascii.Error, RefusedError) as error:
        raise RefusedError(f"{name}: {error}") from error


async def sign_head(services: CommandServices, caller: Caller, /) -> str:
    """Sign the head as it is now; whoever asked for it is in the log that it is of."""
    entry = audit.entry(services.clock.now(), caller.actor, "audit.head")
    await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    return await services.audit_heads.pem(await services.audit_heads.make())


async def export_audit(
    services: CommandServices, caller: Caller, /, *, first: int, last: int | None
) -> dict[str, Any]:
    return await services.audit_export.give(first, last, caller.actor, caller.give_file, caller.progress)


async def audit_head(services: CommandServices, _caller: Caller, /) -> dict[str, Any]:
    end = audit.Head.of(await services.storage.read(audit_chain.head))
    return {"sequence": end.sequence, "hash": end.hash}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "audit.list": CommandEntry(list_audit, reading=True),
    "audit.verify": CommandEntry(verify_audit, reading=True),
    "audit.head": CommandEntry(audit_head, reading=True),
    "audit.check_heads": CommandEntry(check_heads, reading=True),
    "audit.sign_head": CommandEntry(sign_head),
    "audit.export": CommandEntry(export_audit),
}
