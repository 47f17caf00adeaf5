"""CMP transactions in the store: known by transactionID and sender, moved from state to state once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store import cmp_transactions as rows
from store.cmp_transactions import CMPTransaction
from store.errors import StorageError

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
OPENED = CMPTransaction(
    id=1,
    transaction_id=bytes(16),
    sender="credential:a",
    body=0,
    pvno=2,
    state="unconfirmed",
    request_sha256=bytes(32),
    request=None,
    nonce_key=bytes(range(16)),
    opened_at=NOW,
    deadline=SOON,
)


async def opened(store: "Store", **changes: Any) -> int:
    wanted = replace(OPENED, **changes)
    return await store.write(
        lambda tx: rows.open_transaction(
            tx,
            transaction_id=wanted.transaction_id,
            sender=wanted.sender,
            body=wanted.body,
            pvno=wanted.pvno,
            state=wanted.state,
            request_sha256=wanted.request_sha256,
            request=wanted.request,
            nonce_key=wanted.nonce_key,
            now=wanted.opened_at,
            deadline=wanted.deadline,
        )
    )


async def test_what_goes_in_comes_out(store: "Store") -> None:
    assert await opened(store) == 1
    waiting = {"transaction_id": bytes(15) + b"\1", "state": "waiting", "request": b"r", "deadline": None}
    assert await opened(store, **waiting) == 2
    assert await store.read(lambda tx: rows.find(tx, OPENED.transaction_id, OPENED.sender)) == OPENED
    found = await store.read(lambda tx: rows.with_id(tx, bytes(15) + b"\1"))
    assert found == [replace(OPENED, id=2, **waiting)]
    assert await store.read(lambda tx: rows.find(tx, OPENED.transaction_id, "credential:b")) is None


async def test_one_of_each_sender_and_id(store: "Store") -> None:
    await opened(store)
    await opened(store, sender="credential:b")
    with pytest.raises(StorageError):
        await opened(store)
    assert len(await store.read(lambda tx: rows.with_id(tx, OPENED.transaction_id))) == 2


async def test_a_move_is_made_once(store: "Store") -> None:
    number = await opened(store)
    for moved in (True, False):
        result = await store.write(
            lambda tx: rows.move(tx, number, from_state="unconfirmed", to_state="confirmed")
        )
        assert result is moved
    found = await store.read(lambda tx: rows.find(tx, OPENED.transaction_id, OPENED.sender))
    assert found == replace(OPENED, state="confirmed", deadline=None)


async def test_what_is_due(store: "Store") -> None:
    for number, minutes in enumerate((3, 1, 2, 9)):
        deadline = NOW + timedelta(minutes=minutes)
        await opened(store, transaction_id=bytes([number]) * 16, deadline=deadline)
    at = NOW + timedelta(minutes=3)
    due = await store.read(lambda tx: rows.due(tx, at, 10))
    assert [one.deadline for one in due] == [NOW + timedelta(minutes=minutes) for minutes in (1, 2, 3)]
    assert len(await store.read(lambda tx: rows.due(tx, at, 2))) == 2
    assert await store.read(rows.count_unconfirmed) == 4


async def test_how_many_of_a_sender_wait(store: "Store") -> None:
    for number in range(3):
        await opened(store, transaction_id=bytes([number]) * 16, state="waiting", deadline=None)
    assert await store.read(lambda tx: rows.count_waiting(tx, OPENED.sender)) == 3
    assert await store.read(lambda tx: rows.count_waiting(tx, "credential:b")) == 0
