"""Who stands behind a bulk act: the first person with the roles of now, and whether it is about their own.

An act about a whole authority or organisation may well hold the certificate of who decides on it: everybody's
is changed alike. One about named certificates is as good as a case, and nobody acts on what is their own.
"""

import json
from collections.abc import Iterable

from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.registration.renewed import with_renewed
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.role_grants import ACTOR_PREFIX
from store import actors, applications, certificates
from store import bulk_acts as rows
from store.bulk_acts import ActRecord
from store.database import Transaction
from store.records import from_unix

_ANY_TIME = from_unix(0)  # what is over is the holder's still


def proposer(tx: Transaction, act: ActRecord) -> Actor:
    """Return who proposed an act, by that role, where they have it still.

    Whoever gave a command at the machine has no roles that could be taken back.
    """
    role, person = Role(act.proposed_role), act.proposed_person
    if not act.proposed_by.startswith(ACTOR_PREFIX):
        return Actor(act.proposed_by, (Assignment(role),), person)
    record = actors.with_name(tx, act.proposed_by.removeprefix(ACTOR_PREFIX))
    if record is None or not record.has_role(role.value):
        return Actor(act.proposed_by, person=person)
    known = record.person if record.person is not None else person  # who came on record since
    return Actor(act.proposed_by, (Assignment(role),), known)


def holder_among(tx: Transaction, actor: Actor, selection: Selection) -> int | None:
    """Return the actor's own number where one of the named certificates is theirs, else None."""
    return _among(tx, actor, selection.named)


def holder_in(tx: Transaction, actor: Actor, act: ActRecord) -> int | None:
    """Return what `holder_among` does, of an act that was proposed."""
    if "named" not in json.loads(act.selection) or actor.person is None:
        return None
    batches = (rows.batch(tx, act.id, number) for number in range(1, act.batches + 1))
    return _among(
        tx,
        actor,
        (
            (batch.authority, int.from_bytes(serial, "big"))
            for batch in batches
            if batch is not None
            for serial in batch.serials
        ),
    )


def _among(tx: Transaction, actor: Actor, named: Iterable[tuple[int, int]]) -> int | None:
    if actor.person is None:
        return None
    own = set[tuple[int, int]]()
    for application in applications.all_of_person(tx, actor.person):
        if application.authority is not None and application.serial is not None:
            first = certificates.get(tx, application.authority, application.serial)
            renewed = with_renewed(tx, first, _ANY_TIME) if first is not None else ()
            own.update((one.authority, one.serial) for one in renewed)
    return None if own.isdisjoint(named) else actor.person
