"""Applications for certificates and their events, which are only ever added."""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final

from store.database import Transaction, Value
from store.records import from_unix, serial_to_blob, to_unix

_COLUMNS: Final = (
    "id, office, person, channel, carrier, profile, state, version, proof, credential, authority, serial,"
    " created_at, created_by, updated_at, organization, officer, delivery"
)
_OF_A: Final = ", ".join("a." + name.strip() for name in _COLUMNS.split(","))  # where others are joined
_EVENT: Final = "application, version, event, from_state, to_state, actor, ground, at, detail"
_LAST: Final = "\U0010ffff"  # sorts after any text that begins as the prefix does


@dataclass(frozen=True, slots=True)
class ApplicationRecord:
    """An application; `person` None: not verified yet. `credential` is the reference of what enrols it.

    It is of an office, of an organisation for one of its officers, or of neither: signed by the holder.
    `delivery` says who makes the carrier: the office, or the printing plant.
    """

    id: int
    office: int | None
    person: int | None
    channel: str
    carrier: str
    profile: str
    state: str
    version: int
    proof: str | None
    credential: str | None
    authority: int | None
    serial: int | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    organization: int | None = None
    officer: int | None = None
    delivery: str = "office"


@dataclass(frozen=True, slots=True)
class ApplicationEventRecord:
    """What happened to an application; `detail` is JSON without personal data."""

    application: int
    version: int
    event: str
    from_state: str | None
    to_state: str
    actor: str
    ground: str
    at: datetime
    detail: str


def _record(row: tuple[Any, ...]) -> ApplicationRecord:
    serial = None if row[11] is None else int.from_bytes(row[11], "big")
    values: tuple[Any, ...] = (*row[:11], serial, from_unix(row[12]), row[13], from_unix(row[14]), *row[15:])
    return ApplicationRecord(*values)


def add(
    tx: Transaction,
    *,
    office: int | None,
    channel: str,
    carrier: str,
    profile: str,
    name_key: str,
    now: datetime,
    by: str,
    organization: int | None = None,
    officer: int | None = None,
    delivery: str = "office",
) -> ApplicationRecord:
    """Add a draft at version 0; its first event makes it version 1."""
    row = tx.one(
        "INSERT INTO applications (office, organization, officer, channel, carrier, profile, name_key,"
        " delivery, state, version, created_at, created_by, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'draft', 0, ?, ?, ?)"
        f" RETURNING {_COLUMNS}",
        (
            *(office, organization, officer, channel, carrier, profile, name_key, delivery),
            *(to_unix(now), by, to_unix(now)),
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def append(tx: Transaction, event: ApplicationEventRecord) -> ApplicationRecord | None:
    """Append an event and return the application as it moves it; None where its version is another by now."""
    moved = tx.one(
        "UPDATE applications SET state = ?, version = ?, updated_at = ? WHERE id = ? AND version = ?"
        f" RETURNING {_COLUMNS}",
        (event.to_state, event.version, to_unix(event.at), event.application, event.version - 1),
    )
    if moved is None:
        return None
    tx.execute(
        f"INSERT INTO application_events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.application,
            event.version,
            event.event,
            event.from_state,
            event.to_state,
            event.actor,
            event.ground,
            to_unix(event.at),
            event.detail,
        ),
    )
    return _record(moved)


def set_person(tx: Transaction, application: int, person: int, proof: str) -> None:
    """Note whose application it is, and how the person was identified."""
    tx.execute(
        "UPDATE applications SET person = ?, proof = ? WHERE id = ?",
        (person, proof, application),
    )


def set_credential(tx: Transaction, application: int, reference: str) -> None:
    """Bind a credential: what is enrolled with it is of this application."""
    tx.execute("UPDATE applications SET credential = ? WHERE id = ?", (reference, application))


def set_certificate(tx: Transaction, application: int, authority: int, serial: int) -> None:
    """Note the certificate; one that another application has breaks a constraint."""
    tx.execute(
        "UPDATE applications SET authority = ?, serial = ? WHERE id = ?",
        (authority, serial_to_blob(serial), application),
    )


def erase_name(tx: Transaction, application: int) -> None:
    """Remove the name that an application is searched by."""
    tx.execute("UPDATE applications SET name_key = NULL WHERE id = ?", (application,))


def all_of_person(tx: Transaction, person: int) -> list[ApplicationRecord]:
    """Return every application of a person."""
    return [
        _record(row) for row in tx.all(f"SELECT {_COLUMNS} FROM applications WHERE person = ?", (person,))
    ]


def of_officer(tx: Transaction, officer: int) -> list[ApplicationRecord]:
    """Return every application for an officer."""
    return [
        _record(row) for row in tx.all(f"SELECT {_COLUMNS} FROM applications WHERE officer = ?", (officer,))
    ]


def get(tx: Transaction, application: int) -> ApplicationRecord | None:
    """Return an application, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM applications WHERE id = ?", (application,))
    return _record(row) if row else None


def of_certificate(tx: Transaction, authority: int, serial: int) -> ApplicationRecord | None:
    """Return the application that a certificate came of, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM applications WHERE authority = ? AND serial = ?",
        (authority, serial_to_blob(serial)),
    )
    return _record(row) if row else None


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; all of it has to hold. `offices` None: of whichever; `created_until` is excluded.

    `organizations` None: of offices and holders, too; `every_organization`: of whichever organisation;
    `outside_organizations`: of none.
    """

    state: str | None = None
    offices: frozenset[int] | None = None
    person: int | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    before: int | None = None
    organizations: frozenset[int] | None = None
    every_organization: bool = False
    outside_organizations: bool = False


# Numbers are given in the order of time: where a span of time begins in them is one look-up.
_FIRST_SINCE: Final = "(SELECT id FROM applications WHERE created_at >= ? ORDER BY created_at, id LIMIT 1)"


def newest(tx: Transaction, wanted: Search, limit: int) -> list[ApplicationRecord]:
    """Return applications, the newest first; from `before` on backwards, which is one that is seen."""
    if wanted.offices is not None and len(wanted.offices) > 1:  # each office is in order for itself
        each = [newest(tx, replace(wanted, offices=frozenset({one})), limit) for one in wanted.offices]
        return sorted(chain.from_iterable(each), key=lambda one: one.id, reverse=True)[:limit]
    filters: list[tuple[str, Value]] = [
        (text, value)
        for text, value in (
            ("state = ?", wanted.state),
            ("person = ?", wanted.person),
            ("id < ?", wanted.before),
            (f"id >= {_FIRST_SINCE}", _moment(wanted.created_from)),
            (f"id < ifnull({_FIRST_SINCE}, {1 << 62})", _moment(wanted.created_until)),
        )
        if value is not None
    ]
    places: list[int | None] = []
    texts = [text for text, _ in filters]
    if wanted.offices is not None:
        texts.append("office = ?")
        places.append(next(iter(wanted.offices), None))  # of none there is nothing
    if wanted.outside_organizations:
        texts.append("organization IS NULL")
    if wanted.every_organization:
        texts.append("organization IS NOT NULL")
    elif wanted.organizations is not None:
        one = len(wanted.organizations) == 1
        texts.append(
            f"organization {'= ?' if one else 'IN (' + ', '.join('?' * len(wanted.organizations)) + ')'}"
        )
        places += sorted(wanted.organizations)
    where = f" WHERE {' AND '.join(texts)}" if texts else ""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM applications{where} ORDER BY id DESC LIMIT ?",
        (*(value for _, value in filters), *places, limit),
    )
    return [_record(row) for row in rows]


def _moment(at: datetime | None) -> int | None:
    return None if at is None else to_unix(at)


def with_name_prefix(tx: Transaction, prefix: str, limit: int) -> list[ApplicationRecord]:
    """Return applications of those whose given name, and then the parent's, begins so."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM applications WHERE name_key >= ? AND name_key < ?"
        " ORDER BY name_key, id LIMIT ?",
        (prefix, prefix + _LAST, limit),
    )
    return [_record(row) for row in rows]


def events(tx: Transaction, application: int) -> list[ApplicationEventRecord]:
    """Return what happened to an application, in order."""
    rows = tx.all(
        f"SELECT {_EVENT} FROM application_events WHERE application = ? ORDER BY version", (application,)
    )
    values: list[tuple[Any, ...]] = [(*row[:7], from_unix(row[7]), row[8]) for row in rows]
    return [ApplicationEventRecord(*value) for value in values]


UNISSUED: Final = ("draft", "verified", "issuing", "failed")  # states of what came to no certificate yet


def unissued(tx: Transaction, *, organization: int | None = None, person: int | None = None) -> list[int]:
    """Return applications of an organisation, or a person, that came to no certificate and no end yet."""
    column, value = ("organization", organization) if person is None else ("person", person)
    rows = tx.all(
        f"SELECT id FROM applications WHERE {column} = ?"
        f" AND state IN ({', '.join('?' * len(UNISSUED))}) ORDER BY id",
        (value, *UNISSUED),
    )
    return [row[0] for row in rows]


def of_columns(tx: Transaction, rest: str, values: tuple[Value, ...]) -> list[ApplicationRecord]:
    """Return the applications that the rest of a query finds, which calls them `a`."""
    return [_record(row) for row in tx.all(f"SELECT {_OF_A} {rest}", values)]


def holder_of_credential(tx: Transaction, reference: str) -> int | None:
    """Return whose application a credential is of; None: of nobody's who is on record."""
    row = tx.one("SELECT person FROM applications WHERE credential = ?", (reference,))
    return row[0] if row else None


_IS_REVOKED: Final = (
    "EXISTS (SELECT 1 FROM certificates r WHERE r.authority = {of}.authority AND r.serial = {of}.serial"
    " AND r.state = 'revoked')"
)
# Whose first certificate was refused by its client, and is revoked: the credential made another one.
_ISSUED_ANEW: Final = (
    f"a.state = 'issued' AND {_IS_REVOKED.format(of='a')} AND NOT {_IS_REVOKED.format(of='i')}"
)


def awaiting(tx: Transaction, authority: int, serial: int) -> ApplicationRecord | None:
    """Return the application that waits for this certificate: what enrolled it is bound to it; or None.

    One that has a certificate already waits for another where that one is revoked.
    """
    row = tx.one(
        f"SELECT {_OF_A} FROM issuances i"
        " JOIN credentials c ON c.id = i.credential JOIN applications a ON a.credential = c.reference"
        " WHERE i.authority = ? AND i.serial = ? AND i.state = 'issued'"
        f" AND (a.state = 'issuing' OR ({_ISSUED_ANEW}))",
        (authority, serial_to_blob(serial)),
    )
    return _record(row) if row else None


def is_being_issued(tx: Transaction, application: int) -> bool:
    """Return whether a certificate is being made, or was, with the credential bound to an application."""
    row = tx.one(
        "SELECT 1 FROM applications a JOIN credentials c ON c.reference = a.credential"
        " JOIN issuances i ON i.credential = c.id AND i.state != 'voided' WHERE a.id = ?",
        (application,),
    )
    return row is not None
