"""Requests to the API that carry an Idempotency-Key, and how they were answered."""

from datetime import datetime
from typing import Final, NamedTuple

from store.database import Transaction
from store.records import to_unix

_SWEPT_AT_ONCE: Final = 16  # more than come in: what is old goes, and no request pays for all of it


class Answer(NamedTuple):
    """What a request was answered; `etag` as the header has it, `body` as it is kept."""

    status: int
    etag: str | None
    body: bytes


class Kept(NamedTuple):
    """A request that came before: the keyed hash of it, and its answer, None while there is none."""

    request: bytes
    done: bool  # something was changed for it
    answer: Answer | None


def begin(
    tx: Transaction, actor: str, key: str, request: bytes, now: datetime, forget_before: datetime
) -> Kept | None:
    """Note that a request is about to be carried out and return None, or return the earlier one of its key.

    Those begun before `forget_before` are forgotten.
    """
    tx.execute(
        "DELETE FROM api_requests WHERE (actor, key) IN"
        " (SELECT actor, key FROM api_requests WHERE begun_at < ? LIMIT ?)",
        (to_unix(forget_before), _SWEPT_AT_ONCE),
    )
    tx.execute(
        "DELETE FROM api_requests WHERE actor = ? AND key = ? AND begun_at < ?",
        (actor, key, to_unix(forget_before)),
    )
    row = tx.one(
        "SELECT request, done, status, etag, body FROM api_requests WHERE actor = ? AND key = ?", (actor, key)
    )
    if row is not None:
        return Kept(row[0], bool(row[1]), None if row[2] is None else Answer(*row[2:]))
    tx.execute(
        "INSERT INTO api_requests (actor, key, request, begun_at) VALUES (?, ?, ?, ?)",
        (actor, key, request, to_unix(now)),
    )
    return None


def mark_done(tx: Transaction, actor: str, key: str) -> None:
    """Note that a request has changed something: in the transaction that changes it."""
    tx.execute("UPDATE api_requests SET done = 1 WHERE actor = ? AND key = ?", (actor, key))


def answer(tx: Transaction, actor: str, key: str, given: Answer) -> None:
    """Keep the answer of a request that was carried out."""
    tx.execute(
        "UPDATE api_requests SET done = 1, status = ?, etag = ?, body = ? WHERE actor = ? AND key = ?",
        (given.status, given.etag, given.body, actor, key),
    )


def forget(tx: Transaction, actor: str, key: str) -> None:
    """Forget a request that was refused and did nothing."""
    tx.execute("DELETE FROM api_requests WHERE actor = ? AND key = ? AND status IS NULL", (actor, key))
