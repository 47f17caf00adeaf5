"""Commands on CRLs."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices


async def publish_crls(
    services: CommandServices, caller: Caller, /, *, ca: str | None
) -> list[dict[str, Any]]:
    names = [ca] if ca is not None else [a.name for a in services.authorities if a.key_label is not None]
    published = []
    for done, name in enumerate(names):
        caller.progress(f"CRL of {name}", done, len(names))
        record = await services.crl_publisher.publish(name, caller.actor)
        published.append(
            {
                "ca": name,
                "number": record.number,
                "this_update": record.this_update.isoformat(),
                "next_update": record.next_update.isoformat(),
            }
        )
    return published


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "crl.publish": CommandEntry(publish_crls),
}
