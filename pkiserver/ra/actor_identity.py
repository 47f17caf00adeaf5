"""Who an actor is: a person by the civil registration number, kept encrypted, on record as one or not yet.

No actor acts on what is their own, so a role of people is granted only to whom this knows.
"""

from typing import Final

from pkiserver.errors import ConflictError
from pkiserver.ra.registration.numbers import parse_civil_id
from pkiserver.ra.registration.people import ACTORS, People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import PROGRAMS, Role
from store import actors as rows
from store import personal_data
from store.database import Transaction
from store.records import ActorRecord

ROLES_OF_PEOPLE: Final = frozenset(role.value for role in set(Role) - PROGRAMS)


class ActorIdentities:
    """Says once who an actor is; nobody is two actors."""

    def __init__(self, data: PersonalData, people: People) -> None:
        self._data = data
        self._people = people

    def say(self, tx: Transaction, actor: ActorRecord, civil_id: str) -> bool:
        """Note who an actor is; False where that was said already.

        `RefusedError` for what is no number, `ConflictError` where the actor is somebody else, or this person
        another actor.
        """
        number = parse_civil_id(civil_id)
        known = self._data.read(tx, ACTORS, actor.id, ["civil_id"]).get("civil_id")
        if known is not None:
            if known != number:
                raise ConflictError(f"{actor.name} is somebody else on record")
            return False
        others = [rows.get(tx, row) for row in self._data.find(tx, ACTORS, "civil_id", number)]
        for other in others:
            if other is not None:
                raise ConflictError(f"this person is actor {other.name}: nobody is two")
        self._data.put(tx, ACTORS, actor.id, {"civil_id": number})
        rows.set_person(tx, actor.id, self._people.of_civil_id(tx, number))
        return True


def is_identified(tx: Transaction, actor: int) -> bool:
    """Return whether it is known who an actor is."""
    return "civil_id" in personal_data.of_row(tx, ACTORS, actor)
