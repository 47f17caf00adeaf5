"""Commands on CRLs."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from store.records import CRLRecord


async def publish_crls(
    services: CommandServices, caller: Caller, /, *, ca: str | None, last: bool = False
) -> list[dict[str, Any]]:
    publisher = services.crl_publisher
    if last:
        if ca is None:
            raise RefusedError("say with --ca which authority is to end")
        handle = services.authorities.get(ca).handle
        return [_row(handle, record) for record in await publisher.publish_last(ca, caller.actor)]
    names = (
        [ca]
        if ca is not None
        else [one.exact for one in services.authorities if one.key_label is not None and not one.ended]
    )
    published = []
    for done, name in enumerate(names):
        handle = services.authorities.get(name).handle
        caller.progress(f"CRL of {handle}", done, len(names))
        published += [_row(handle, record) for record in await publisher.publish(name, caller.actor)]
    return published


async def list_crls(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    return [
        _row(services.authorities.record_with_id(record.authority).handle, record)
        | {"file": f"{stem}.crl", "entries": record.entries, "octets": record.octets}
        for stem, record in services.crl_publisher.published()
    ]


def _row(ca: str, record: CRLRecord) -> dict[str, Any]:
    return {
        "ca": ca,
        "shard": record.scope,
        "kind": record.kind,
        "number": record.number,
        "this_update": record.this_update.isoformat(),
        "next_update": record.next_update.isoformat(),
    }


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "crl.list": CommandEntry(list_crls, reading=True),
    "crl.publish": CommandEntry(publish_crls),
}
