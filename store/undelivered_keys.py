"""Issuances for keys that were made here, while neither key nor certificate was delivered."""

from typing import Any, NamedTuple

from store.database import Transaction
from store.records import serial_to_blob


class UndeliveredKey(NamedTuple):
    """An issuance that ended, whose key is lost; `issued` says whether in a certificate."""

    issuance: int
    authority: int
    serial: int
    credential: int | None
    issued: bool


_SELECT = (
    "SELECT i.id, i.authority, i.serial, i.credential, i.state = 'issued' FROM undelivered_keys u"
    " JOIN issuances i ON i.id = u.issuance"
)


def _record(row: tuple[Any, ...]) -> UndeliveredKey:
    return UndeliveredKey(row[0], row[1], int.from_bytes(row[2], "big"), row[3], bool(row[4]))


def add(tx: Transaction, issuance: int) -> None:
    """Note that the key of an issuance is about to be delivered, or lost."""
    tx.execute("INSERT INTO undelivered_keys (issuance) VALUES (?)", (issuance,))


def ended(tx: Transaction) -> list[UndeliveredKey]:
    """Return those whose issuance has ended, oldest first."""
    rows = tx.all(f"{_SELECT} WHERE i.state IN ('issued', 'voided') ORDER BY i.id")
    return [_record(row) for row in rows]


def find(tx: Transaction, authority: int, serial: int) -> UndeliveredKey | None:
    """Return the one of a certificate, None where it was delivered or its key was not made here."""
    row = tx.one(f"{_SELECT} WHERE i.authority = ? AND i.serial = ?", (authority, serial_to_blob(serial)))
    return _record(row) if row else None


def remove(tx: Transaction, issuance: int) -> bool:
    """Note that this is settled; False when it was before."""
    return tx.execute("DELETE FROM undelivered_keys WHERE issuance = ?", (issuance,)) == 1
