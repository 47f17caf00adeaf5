"""Commands on the signer: how it fares, and that an operator has mended what stopped it."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.signer.client import Signer
from pkiserver.signer.secret import MAX_SECRET_BYTES
from store import audit as audit_chain


async def show_signer(services: CommandServices, _caller: Caller, /) -> dict[str, Any]:
    return _shown(services.signer)


async def reset_signer(
    services: CommandServices, caller: Caller, /, *, pin: str | None = None
) -> dict[str, Any]:
    """Have log-ins tried again; `pin` is what a person typed. It is in no record and no message."""
    signer = services.signer
    typed = None if pin is None else pin.encode()
    if typed is not None and not signer.asks_pin:
        raise RefusedError("the PIN is not typed here: change it where keys.uri has it from")
    if typed is not None and not 0 < len(typed) <= MAX_SECRET_BYTES:
        raise RefusedError(f"a PIN has 1 to {MAX_SECRET_BYTES} octets")
    entry = audit.entry(
        services.clock.now(),
        caller.actor,
        "signer.reset",
        token=signer.token_name,
        circuit=signer.circuit.value,
        reason=signer.failure or "",
        new_pin=typed is not None,
    )
    await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    signer.reset(typed)
    return _shown(signer)


def _shown(signer: Signer) -> dict[str, Any]:
    return {
        "token": signer.token_name,
        "circuit": signer.circuit.value,
        "workers": signer.workers,
        "serving": signer.serving,
        "waiting": signer.queue_depth,
        "signatures": signer.signatures,
        "faults": {fault: count for fault, count in sorted(signer.statistics.faults.items()) if count},
        "reason": signer.failure or "",
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "signer.show": CommandEntry(show_signer, reading=True),
    "signer.reset": CommandEntry(reset_signer),
}
