"""Organisations, their events (only ever added), mail domains, officers and the positions of these."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

_COLUMNS: Final = "id, number, name, mail, state, version, created_at"
_EVENT: Final = "organization, version, event, from_state, to_state, actor, ground, at"
_OFFICER: Final = (
    "o.id, o.organization, o.person, o.parent_name, o.given_name, o.mail, o.added_at, o.left_at, p.title,"
    " p.unit"
)
_OFFICERS: Final = "officers o LEFT JOIN officer_positions p ON p.officer = o.id AND p.until IS NULL"
_LAST: Final = "\U0010ffff"  # sorts after any text that begins as the prefix does


@dataclass(frozen=True, slots=True)
class OrganizationRecord:
    """An organisation, by the number of the state register."""

    id: int
    number: str
    name: str
    mail: str
    state: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrganizationEventRecord:
    """What happened to an organisation; `from_state` None: it registered."""

    organization: int
    version: int
    event: str
    from_state: str | None
    to_state: str
    actor: str
    ground: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OfficerRecord:
    """An officer and the position of today; `title` None: left. Names and mail are None once erased."""

    id: int
    organization: int
    person: int | None
    parent_name: str | None
    given_name: str | None
    mail: str | None
    added_at: datetime
    left_at: datetime | None
    title: str | None
    unit: str | None


def _record(row: tuple[Any, ...]) -> OrganizationRecord:
    values: tuple[Any, ...] = (*row[:6], from_unix(row[6]))
    return OrganizationRecord(*values)


def add(
    tx: Transaction, *, number: str, name: str, name_key: str, mail: str, now: datetime
) -> OrganizationRecord:
    """Add an organisation at version 0; its first event makes it version 1."""
    row = tx.one(
        "INSERT INTO organizations (number, name, name_key, mail, state, version, created_at)"
        f" VALUES (?, ?, ?, ?, 'registered', 0, ?) RETURNING {_COLUMNS}",
        (number, name, name_key, mail, to_unix(now)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def rename(tx: Transaction, organization: int, *, name: str, name_key: str, mail: str) -> None:
    """Set what an organisation that registers anew says of itself."""
    tx.execute(
        "UPDATE organizations SET name = ?, name_key = ?, mail = ? WHERE id = ?",
        (name, name_key, mail, organization),
    )


def count_in_state(tx: Transaction, state: str) -> int:
    """Return how many organisations are in a state."""
    row = tx.one("SELECT count(*) FROM organizations WHERE state = ?", (state,))
    return int(row[0]) if row else 0


def append(tx: Transaction, event: OrganizationEventRecord) -> bool:
    """Append an event and move the organisation; False where its version is another one by now."""
    moved = tx.execute(
        "UPDATE organizations SET state = ?, version = ? WHERE id = ? AND version = ?",
        (event.to_state, event.version, event.organization, event.version - 1),
    )
    if moved != 1:
        return False
    tx.execute(
        f"INSERT INTO organization_events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.organization,
            event.version,
            event.event,
            event.from_state,
            event.to_state,
            event.actor,
            event.ground,
            to_unix(event.at),
        ),
    )
    return True


def with_number(tx: Transaction, number: str) -> OrganizationRecord | None:
    """Return the organisation of this number, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM organizations WHERE number = ?", (number,))
    return _record(row) if row else None


def newest(
    tx: Transaction, *, state: str | None = None, before: int | None = None, limit: int
) -> list[OrganizationRecord]:
    """Return organisations, the newest first; from `before` on backwards, which is one that is seen."""
    below = before if before is not None else 1 << 62
    rows = (
        tx.all(
            f"SELECT {_COLUMNS} FROM organizations WHERE id < ? ORDER BY id DESC LIMIT ?",
            (below, limit),
        )
        if state is None
        else tx.all(
            f"SELECT {_COLUMNS} FROM organizations WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (state, below, limit),
        )
    )
    return [_record(row) for row in rows]


def with_name_prefix(tx: Transaction, prefix: str, limit: int) -> list[OrganizationRecord]:
    """Return organisations whose name begins so, in the order of names."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM organizations WHERE name_key >= ? AND name_key < ?"
        " ORDER BY name_key, id LIMIT ?",
        (prefix, prefix + _LAST, limit),
    )
    return [_record(row) for row in rows]


def events(tx: Transaction, organization: int) -> list[OrganizationEventRecord]:
    """Return what happened to an organisation, in order."""
    rows = tx.all(
        f"SELECT {_EVENT} FROM organization_events WHERE organization = ? ORDER BY version", (organization,)
    )
    values: list[tuple[Any, ...]] = [(*row[:7], from_unix(row[7])) for row in rows]
    return [OrganizationEventRecord(*value) for value in values]


def domains(tx: Transaction, organization: int) -> list[str]:
    """Return the mail domains of an organisation."""
    rows = tx.all(
        "SELECT domain FROM organization_domains WHERE organization = ? ORDER BY domain", (organization,)
    )
    return [row[0] for row in rows]


def is_of_nearer_domain(tx: Transaction, organization: int, mail: str) -> bool:
    """Return whether a mail is of a domain of another organisation, and of none of this one as near to it."""
    parts = mail.rpartition("@")[2].split(".")
    above = tuple(".".join(parts[number:]) for number in range(len(parts)))
    places = ", ".join("?" * len(above))
    rows = tx.all(f"SELECT organization, domain FROM organization_domains WHERE domain IN ({places})", above)
    longest = max((len(domain) for _, domain in rows), default=0)
    owners = {owner for owner, domain in rows if len(domain) == longest}
    return bool(owners) and organization not in owners


def set_domains(tx: Transaction, organization: int, allowed: tuple[str, ...]) -> None:
    """Replace the mail domains of an organisation."""
    tx.execute("DELETE FROM organization_domains WHERE organization = ?", (organization,))
    for domain in allowed:
        tx.execute(
            "INSERT INTO organization_domains (organization, domain) VALUES (?, ?)", (organization, domain)
        )


def add_officer(
    tx: Transaction, *, organization: int, parent_name: str, given_name: str, mail: str, now: datetime
) -> int:
    """Add an officer, who has no position yet; a work mail in use breaks a constraint."""
    row = tx.one(
        "INSERT INTO officers (organization, parent_name, given_name, mail, added_at)"
        " VALUES (?, ?, ?, ?, ?) RETURNING id",
        (organization, parent_name, given_name, mail, to_unix(now)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row[0])


def set_position(
    tx: Transaction, *, officer: int, title: str, unit: str | None, actor: str, ground: str, now: datetime
) -> None:
    """Give an officer a position and end the one before."""
    tx.execute(
        "UPDATE officer_positions SET until = ? WHERE officer = ? AND until IS NULL", (to_unix(now), officer)
    )
    tx.execute(
        "INSERT INTO officer_positions (officer, since, title, unit, actor, ground)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (officer, to_unix(now), title, unit, actor, ground),
    )


def end_officer(tx: Transaction, officer: int, now: datetime) -> bool:
    """Note that an officer left, and end the position; False where they had left."""
    tx.execute(
        "UPDATE officer_positions SET until = ? WHERE officer = ? AND until IS NULL", (to_unix(now), officer)
    )
    return (
        tx.execute(
            "UPDATE officers SET left_at = ? WHERE id = ? AND left_at IS NULL", (to_unix(now), officer)
        )
        == 1
    )


def officers(tx: Transaction, organization: int, limit: int) -> list[OfficerRecord]:
    """Return the officers of an organisation who have not left, by their work mail."""
    rows = tx.all(
        f"SELECT {_OFFICER} FROM {_OFFICERS} WHERE o.organization = ? AND o.left_at IS NULL"
        " ORDER BY o.mail LIMIT ?",
        (organization, limit),
    )
    return [_officer(row) for row in rows]


def officer(tx: Transaction, officer_id: int) -> OfficerRecord | None:
    """Return an officer, or None."""
    row = tx.one(f"SELECT {_OFFICER} FROM {_OFFICERS} WHERE o.id = ?", (officer_id,))
    return _officer(row) if row else None


def _officer(row: tuple[Any, ...]) -> OfficerRecord:
    left_at = None if row[7] is None else from_unix(row[7])
    values: tuple[Any, ...] = (*row[:6], from_unix(row[6]), left_at, row[8], row[9])
    return OfficerRecord(*values)


def get(tx: Transaction, organization: int) -> OrganizationRecord | None:
    """Return an organisation, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM organizations WHERE id = ?", (organization,))
    return _record(row) if row else None


def officer_with_mail(tx: Transaction, organization: int, mail: str) -> int | None:
    """Return the officer who has this work mail now, or None."""
    row = tx.one(
        "SELECT id FROM officers WHERE organization = ? AND mail = ? AND left_at IS NULL",
        (organization, mail),
    )
    return row[0] if row else None


def work_mail(tx: Transaction, person: int) -> str | None:
    """Return the newest work mail of a person, or None where they are no officer."""
    row = tx.one("SELECT mail FROM officers WHERE person = ? ORDER BY id DESC LIMIT 1", (person,))
    return row[0] if row else None


def set_officer_person(tx: Transaction, officer: int, person: int) -> bool:
    """Note who an officer is; False where that is another person, who is not erased."""
    return (
        tx.execute(
            "UPDATE officers SET person = ? WHERE id = ? AND (person IS NULL OR person = ?"
            " OR EXISTS (SELECT 1 FROM people p WHERE p.id = person AND p.erased_at IS NOT NULL))",
            (person, officer, person),
        )
        == 1
    )


def officers_of_person(tx: Transaction, person: int) -> list[OfficerRecord]:
    """Return the officers that a person is, and was."""
    return [
        _officer(row) for row in tx.all(f"SELECT {_OFFICER} FROM {_OFFICERS} WHERE o.person = ?", (person,))
    ]


def erase_officer(tx: Transaction, officer: int) -> bool:
    """Remove the names and the mail of an officer who left; False where none has left of this number."""
    return (
        tx.execute(
            "UPDATE officers SET parent_name = NULL, given_name = NULL, mail = NULL"
            " WHERE id = ? AND left_at IS NOT NULL",
            (officer,),
        )
        == 1
    )


def count_officers(tx: Transaction, organization: int) -> int:
    """Return how many officers an organisation has who have not left."""
    row = tx.one("SELECT count(*) FROM officers WHERE organization = ? AND left_at IS NULL", (organization,))
    return int(row[0]) if row else 0
