"""Commands on the signer: how it fares, and that an operator has mended what stopped it."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver import audit
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.signer.client import Signer
from store import audit as audit_chain


async def show_signer(services: CommandServices, _caller: Caller, /) -> dict[str, Any]:
    return _shown(services.signer)


async def reset_signer(services: CommandServices, caller: Caller, /) -> dict[str, Any]:
    signer = services.signer
    entry = audit.entry(
        services.clock.now(),
        caller.actor,
        "signer.reset",
        token=signer.token_name,
        circuit=signer.circuit.value,
        reason=signer.failure or "",
    )
    await services.storage.write(lambda tx: audit_chain.append(tx, entry))
    signer.reset()
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
