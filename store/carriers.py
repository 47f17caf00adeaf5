"""Carriers of keys (cards, tokens, phones), the certificates on them, and their events, only ever added."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, serial_to_blob, to_unix

_COLUMNS: Final = "id, kind, serial, state, version, person, organization"
_EVENT: Final = "carrier, version, event, from_state, to_state, actor, ground, at"


@dataclass(frozen=True, slots=True)
class CarrierRecord:
    """A carrier by kind and serial number; `person` None: nobody's yet.

    `organization` is the one in whose inventory it is.
    """

    id: int
    kind: str
    serial: str
    state: str
    version: int
    person: int | None
    organization: int | None = None


@dataclass(frozen=True, slots=True)
class CarrierEventRecord:
    """What happened to a carrier, which comes in blank."""

    carrier: int
    version: int
    event: str
    from_state: str
    to_state: str
    actor: str
    ground: str
    at: datetime


def add(tx: Transaction, kind: str, serial: str) -> CarrierRecord:
    """Add a blank carrier at version 0; its first event makes it version 1."""
    row = tx.one(
        f"INSERT INTO carriers (kind, serial, state, version) VALUES (?, ?, 'blank', 0) RETURNING {_COLUMNS}",
        (kind, serial),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return CarrierRecord(*row)


def with_serial(tx: Transaction, kind: str, serial: str) -> CarrierRecord | None:
    """Return a carrier, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM carriers WHERE kind = ? AND serial = ?", (kind, serial))
    return CarrierRecord(*row) if row else None


def of_person(tx: Transaction, person: int, limit: int) -> list[CarrierRecord]:
    """Return the carriers of a person, the newest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM carriers WHERE person = ? ORDER BY id DESC LIMIT ?", (person, limit)
    )
    return [CarrierRecord(*row) for row in rows]


def append(tx: Transaction, event: CarrierEventRecord) -> bool:
    """Append an event and move the carrier; False where its version is another one by now."""
    moved = tx.execute(
        "UPDATE carriers SET state = ?, version = ? WHERE id = ? AND version = ?",
        (event.to_state, event.version, event.carrier, event.version - 1),
    )
    if moved != 1:
        return False
    tx.execute(
        f"INSERT INTO carrier_events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.carrier,
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


def events(tx: Transaction, carrier: int) -> list[CarrierEventRecord]:
    """Return what happened to a carrier, in order."""
    rows = tx.all(f"SELECT {_EVENT} FROM carrier_events WHERE carrier = ? ORDER BY version", (carrier,))
    values: list[tuple[Any, ...]] = [(*row[:7], from_unix(row[7])) for row in rows]
    return [CarrierEventRecord(*value) for value in values]


def set_person(tx: Transaction, carrier: int, person: int | None) -> None:
    """Note whose carrier it is."""
    tx.execute("UPDATE carriers SET person = ? WHERE id = ?", (person, carrier))


def set_organization(tx: Transaction, carrier: int, organization: int) -> None:
    """Note in whose inventory it is."""
    tx.execute("UPDATE carriers SET organization = ? WHERE id = ?", (organization, carrier))


def of_organization(
    tx: Transaction, organization: int, state: str | None, after: int, limit: int
) -> list[CarrierRecord]:
    """Return the carriers of an organisation behind the one with this number, in the order they came in."""
    by_state, values = ("", ()) if state is None else (" AND state = ?", (state,))
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM carriers WHERE organization = ? AND id > ?{by_state} ORDER BY id LIMIT ?",
        (organization, after, *values, limit),
    )
    return [CarrierRecord(*row) for row in rows]


def put_certificate(tx: Transaction, carrier: int, authority: int, serial: int) -> None:
    """Note that a certificate is on a carrier; one that is on another breaks a constraint."""
    tx.execute(
        "INSERT INTO carrier_certificates (authority, serial, carrier) VALUES (?, ?, ?)",
        (authority, serial_to_blob(serial), carrier),
    )


def certificates_on(tx: Transaction, carrier: int) -> list[tuple[int, int]]:
    """Return authority and serial of the certificates on a carrier."""
    rows = tx.all(
        "SELECT authority, serial FROM carrier_certificates WHERE carrier = ? ORDER BY authority, serial",
        (carrier,),
    )
    return [(row[0], int.from_bytes(row[1], "big")) for row in rows]
