"""Commands on presigned OCSP responses."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from store import audit as audit_chain


async def presign(
    services: CommandServices, caller: Caller, /, *, everything: bool, ca: str | None
) -> dict[str, Any]:
    """Sign responses; the running server's presigner does it, or one for the moment where none runs."""
    if ca is not None and not everything:
        raise RefusedError("what is due is due of all authorities: --ca needs --all")
    authority = services.authorities.get(ca).id if ca is not None else None
    since = time.monotonic()

    def rate(signed: int) -> int:
        return round(signed / max(time.monotonic() - since, 1e-3))

    def progress(text: str, done: int = 0, total: int = 0) -> None:
        caller.progress(f"{text}, {rate(done):,} a second", done, total)

    signed, outcome = 0, "failed"
    try:
        async with services.presigning.opened() as (presigner, health):
            signed = await presigner.presign(everything=everything, authority=authority, progress=progress)
            end_s = health.oldest_next_update_s()
        outcome = "done"
    finally:
        entry = audit.entry(
            services.clock.now(), caller.actor, "ocsp.presign", outcome, all=everything, ca=ca, signed=signed
        )
        await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    return {
        "signed": signed,
        "seconds": round(time.monotonic() - since, 3),
        "rate": rate(signed),
        "valid_until": datetime.fromtimestamp(end_s, UTC).isoformat() if end_s is not None else None,
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "ocsp.presign": CommandEntry(presign),
}
