"""Commands on enrolment credentials."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pkiserver.bounds import MAX_LIST
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra import credentials as credential_rules
from store import credentials as credential_rows
from store.records import CredentialRecord

MAX_CREDENTIAL_LIFETIME_S: Final = 10 * 366 * 86_400  # beyond it is a slip of the keyboard


_USES: Final[Mapping[str, credential_rules.Use]] = {"est": "est", "cmp": "cmp"}


async def create_credential(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    profile: str,
    subject: str,
    san: list[str],
    limit_mnt: int | None,
    uses: int,
    lifetime_s: int | None,
    use: str = "est",
) -> dict[str, Any]:
    if lifetime_s is not None and not 0 < lifetime_s <= MAX_CREDENTIAL_LIFETIME_S:
        raise RefusedError("a credential lives for at least a second and at most ten years")
    if use not in _USES:
        raise RefusedError(f"no use {use[:60]!r}: there are {', '.join(_USES)}")
    new = await services.credentials.create(
        profile=profile,
        subject=subject,
        san=tuple(san),
        limit_mnt=limit_mnt,
        uses=uses,
        lifetime=timedelta(seconds=lifetime_s) if lifetime_s is not None else None,
        actor=caller.actor,
        use=_USES[use],
    )
    return {"reference": new.reference, "secret": new.secret, "expires_at": new.expires_at.isoformat()}


async def list_credentials(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    now = services.clock.now()
    found = await services.storage.read(lambda tx: credential_rows.newest(tx, MAX_LIST))
    return [
        {
            "reference": record.reference,
            "profile": record.profile,
            "subject": record.subject,
            "use": _use(record),
            "state": credential_rules.state(record, now),
            "uses_left": record.uses_left,
            "expires_at": record.expires_at.isoformat(),
        }
        for record in found
    ]


def _use(record: CredentialRecord) -> str:
    if record.sealed_secret is not None:
        return "cmp"
    return "est" if record.secret_hash is not None else "plant"


async def cancel_credential(
    services: CommandServices, caller: Caller, /, *, reference: str
) -> dict[str, Any]:
    await services.credentials.cancel(reference, caller.actor)
    return {"reference": reference, "state": "cancelled"}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "credential.create": CommandEntry(create_credential),
    "credential.list": CommandEntry(list_credentials, reading=True),
    "credential.cancel": CommandEntry(cancel_credential),
}
