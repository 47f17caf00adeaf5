"""The command for an authority whose key is compromised."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.rollover import is_at_work
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.compromise import Withdrawn
from protocols.x509.certificate import serial_text


async def compromise(
    services: CommandServices, caller: Caller, /, *, name: str, confirmed: bool
) -> dict[str, Any]:
    """Stop the authority, give the list of its holders, revoke, publish the last CRLs; safe to repeat."""
    if not confirmed:
        raise RefusedError("this cannot be taken back: confirm it")
    authority = await services.compromise.stop(name, caller.actor)
    caller.progress(f"{authority.handle} issues nothing more")
    services.on_authorities_changed()
    listed = 0
    async for piece in services.compromise.to_reissue(authority):
        await caller.give_file(f"reissue-{authority.name}-{authority.generation}.csv", piece)
        listed += piece.count(b"\r\n")
    withdrawn = await services.compromise.withdraw(authority, caller.actor, caller.progress)
    caller.progress(f"last CRL of {authority.handle}")
    await services.crl_publisher.publish_after_compromise(authority, caller.actor)
    services.on_authorities_changed()
    return {
        "name": authority.handle,
        "state": "compromised",
        "revoked_above": ", ".join(serial_text(one.serial) for one in withdrawn.above) or None,
        "revoked": withdrawn.revoked,
        "to_reissue": listed - 1,
        "next": _next(withdrawn, is_at_work(services, authority.name)),
    }


def _next(withdrawn: Withdrawn, has_follower: bool) -> str:
    """Return what is left to people."""
    authority = withdrawn.authority
    serial = serial_text(authority.certificate.serial_number)
    if not authority.parent:
        return "tell relying parties to remove this root from what they trust; nothing else reaches them"
    where = f"have the outside root revoke {serial} and publish its CRL; " if withdrawn.outside else ""
    key = "" if has_follower else f"`pkiserver ca rollover {authority.name} --prepare`, then "
    return f"{where}{key}enrol its holders anew"


COMMANDS: Final[Mapping[str, CommandEntry]] = {"ca.compromise": CommandEntry(compromise)}
