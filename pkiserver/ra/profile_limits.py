"""To which profiles a registration client is limited, of those that await approval.

A limit belongs to the name, and so to all certificates of it. It is only ever narrowed: to widen it the actor
is removed and registered again, by whom that takes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from config.profile import Profile
from pkiserver.errors import ConflictError, RefusedError
from store import actor_profiles as rows
from store.database import Transaction

MAX_PROFILES: Final = 64  # more than a deployment has


def check_limit(profiles: Mapping[str, Profile], limit: Sequence[str]) -> None:
    """Raise `RefusedError` for a profile that no registration client may ask for, or too many."""
    if len(limit) > MAX_PROFILES:
        raise RefusedError(f"a registration client is limited to {MAX_PROFILES} profiles at most")
    served = sorted(name for name, one in profiles.items() if one.enroll and one.approval)
    for name in limit:
        if name not in served:
            known = ", ".join(served) or "none"
            raise RefusedError(f"no profile {name[:64]} for registration clients: there are {known}")


def narrow(tx: Transaction, actor: str, limit: Sequence[str]) -> None:
    """Limit an actor to these profiles; without any its limit stays as it is.

    `ConflictError` for a profile beyond the limit that it has.
    """
    if not limit:
        return
    before = rows.of(tx, actor)
    beyond = sorted(set(limit) - before) if before else []
    if beyond:
        raise ConflictError(
            f"{actor} is limited to {', '.join(sorted(before))}: remove it, and add it again with {beyond[0]}"
        )
    rows.replace(tx, actor, limit)


def lift(tx: Transaction, actor: str) -> None:
    """Forget the limit of an actor that is removed."""
    rows.replace(tx, actor, ())
