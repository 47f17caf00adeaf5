"""Who is pushed events of the register, and up to which event letters to them are in the outbox."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix
from store.register_events import Place

_COLUMNS: Final = "id, name, url, sequence, expiry, turn, added_at, added_by"


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A webhook. `written` is how far letters to it were written, `turn` how often that was set back."""

    id: int
    name: str
    url: str
    written: Place
    turn: int
    added_at: datetime
    added_by: str


def _record(row: tuple[Any, ...]) -> WebhookRecord:
    number, name, url, sequence, expiry, turn, added_at, added_by = row
    return WebhookRecord(number, name, url, Place(sequence, expiry), turn, from_unix(added_at), added_by)


def add(tx: Transaction, name: str, url: str, start: Place, now: datetime, by: str) -> WebhookRecord:
    """Add a webhook that is told what follows `start`; a name in use breaks a constraint."""
    row = tx.one(
        "INSERT INTO webhooks (name, url, sequence, expiry, turn, added_at, added_by)"
        f" VALUES (?, ?, ?, ?, 0, ?, ?) RETURNING {_COLUMNS}",
        (name, url, start.sequence, start.expiry, to_unix(now), by),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def set_secret(tx: Transaction, webhook: int, sealed: bytes) -> None:
    """Keep the encrypted secret that its deliveries are signed with."""
    tx.execute("UPDATE webhooks SET sealed_secret = ? WHERE id = ?", (sealed, webhook))


def sealed_secret(tx: Transaction, webhook: int) -> bytes | None:
    """Return the encrypted secret of a webhook, or None where there is no such webhook."""
    row = tx.one("SELECT sealed_secret FROM webhooks WHERE id = ?", (webhook,))
    return row[0] if row else None


def remove(tx: Transaction, webhook: int, now: datetime, by: str) -> None:
    """Remove a webhook and its secret; letters to it that wait are given up when they are due."""
    tx.execute(
        "UPDATE webhooks SET removed_at = ?, removed_by = ?, sealed_secret = NULL WHERE id = ?",
        (to_unix(now), by, webhook),
    )


def get(tx: Transaction, webhook: int) -> WebhookRecord | None:
    """Return a webhook, or None where there is none, or it was removed."""
    row = tx.one(f"SELECT {_COLUMNS} FROM webhooks WHERE id = ? AND removed_at IS NULL", (webhook,))
    return _record(row) if row else None


def every(tx: Transaction) -> list[WebhookRecord]:
    """Return all webhooks that were not removed, in the order of their numbers."""
    return [
        _record(row)
        for row in tx.all(f"SELECT {_COLUMNS} FROM webhooks WHERE removed_at IS NULL ORDER BY id")
    ]


def move_on(tx: Transaction, webhook: int, written: Place) -> None:
    """Note that letters were written up to this event."""
    tx.execute(
        "UPDATE webhooks SET sequence = ?, expiry = ? WHERE id = ?",
        (written.sequence, written.expiry, webhook),
    )


def set_back(tx: Transaction, webhook: int, place: Place) -> None:
    """Have what follows an event written once more."""
    tx.execute(
        "UPDATE webhooks SET sequence = ?, expiry = ?, turn = turn + 1 WHERE id = ?",
        (place.sequence, place.expiry, webhook),
    )
