"""The audit chain on a real database: whatever is altered afterwards is found, and named."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pkiserver import audit
from pkiserver.audit import ChainError, ChainVerifier, Head
from pkiserver.errors import RefusedError
from store import audit as chain
from store.database import Database, Transaction
from store.errors import StorageError
from store.records import AuditRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COLUMNS = (
    "sequence",
    "at",
    "actor",
    "action",
    "outcome",
    "detail",
    "personal_salt",
    "personal",
    "personal_hash",
    "hash",
)
RECORDS = 5
PERSONAL = {2, 4}  # the records that hold personal data; the fourth is erased


class UndoneError(Exception):
    """Ends a transaction that must leave nothing behind."""


def _fill(tx: Transaction) -> None:
    for number in range(1, RECORDS + 1):
        personal = {"subject": f"CN=Бат {number}"} if number in PERSONAL else None
        moment = NOW + timedelta(seconds=number)
        entry = audit.entry(moment, "tests", f"action-{number}", personal=personal, serial=f"{number:x}")
        chain.append(tx, entry)
    tx.execute("UPDATE audit SET personal = NULL, personal_salt = NULL WHERE sequence = 4")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "test.db")
    await opened.write(_fill)
    yield opened
    opened.close()


async def test_what_is_undone_leaves_no_gap(database: Database) -> None:
    """Neighbours of one that fails, brief or not, are run again: the tail that they kept is forgotten."""

    def work(name: str) -> Callable[[Transaction], int]:
        def append(tx: Transaction) -> int:
            chain.append(tx, audit.entry(NOW, "tests", f"{name}-one"))
            last = chain.append(tx, audit.entry(NOW, "tests", f"{name}-other")).sequence
            if name == "undone":
                raise UndoneError
            return last

        return append

    for brief in (True, False):
        works = (database.write(work(name), brief=brief) for name in ("before", "undone", "after"))
        first, failed, last = await asyncio.gather(*works, return_exceptions=True)
        assert isinstance(failed, UndoneError)
        assert isinstance(first, int)
        assert last == first + 2
    records = await database.read(lambda tx: chain.after(tx, 0, 100))
    assert [record.action for record in records[-4:]] == [
        "before-one",
        "before-other",
        "after-one",
        "after-other",
    ]
    assert verify(records).sequence == RECORDS + 8


def verify(records: list[AuditRecord], head: Head | None = None) -> Head:
    verifier = ChainVerifier(head)
    verifier.check(records)
    return verifier.finish()


async def head_of(database: Database) -> Head:
    return Head.of(await database.read(chain.head))


async def verify_after(database: Database, *statements: str, head: Head | None = None) -> Head:
    """Return the head that verification finds after these statements, which are then undone."""
    found: list[AuditRecord] = []

    def alter(tx: Transaction) -> None:
        for statement in statements:
            tx.execute(statement)
        found.extend(chain.after(tx, 0, 100))
        raise UndoneError

    with pytest.raises(UndoneError):
        await database.write(alter)
    return verify(found, head)


async def test_an_untouched_chain_is_verified(database: Database) -> None:
    head = await head_of(database)
    assert head.sequence == RECORDS
    assert await verify_after(database) == head
    assert await verify_after(database, head=head) == head
    assert Head.parse(json.dumps({"sequence": head.sequence, "hash": head.hash})) == head


async def test_records_both_ways(database: Database) -> None:
    entry = audit.entry(NOW + timedelta(days=1), "a", "b", "refused", personal={"имя": "Бат"}, reason="ө")
    appended = await database.write(lambda tx: chain.append(tx, entry))
    assert await database.read(chain.head) == appended
    assert await database.read(lambda tx: chain.after(tx, RECORDS, 10)) == [appended]
    assert (appended.sequence, appended.at, appended.outcome) == (RECORDS + 1, entry.at, "refused")
    assert json.loads(appended.detail) == {"reason": "ө"}
    assert json.loads(appended.personal or "") == {"имя": "Бат"}
    assert [one.sequence for one in await database.read(lambda tx: chain.after(tx, 1, 2))] == [2, 3]


async def test_verification_goes_on_from_page_to_page(database: Database) -> None:
    verifier = ChainVerifier(await head_of(database))
    for start in range(RECORDS):
        page = await database.read(lambda tx, start=start: chain.after(tx, start, 1))
        verifier.check(page)
    assert verifier.finish() == await head_of(database)


async def test_time_in_the_chain_never_goes_back(database: Database) -> None:
    behind = audit.entry(NOW - timedelta(days=1), "tests", "late")
    appended = await database.write(lambda tx: chain.append(tx, behind))
    assert appended.at == NOW + timedelta(seconds=RECORDS)
    assert verify(await database.read(lambda tx: chain.after(tx, 0, 100))).sequence == RECORDS + 1


async def test_the_same_personal_data_have_another_hash_each_time(database: Database) -> None:
    entry = audit.entry(NOW, "tests", "enrol", personal={"subject": "CN=a"})
    one = await database.write(lambda tx: chain.append(tx, entry))
    other = await database.write(lambda tx: chain.append(tx, entry))
    assert one.personal == other.personal
    assert one.personal_hash != other.personal_hash


ALTERED = {
    "at": ("UPDATE audit SET at = at + 1 WHERE sequence = 3", "record 3 was altered"),
    "actor": ("UPDATE audit SET actor = 'me' WHERE sequence = 1", "record 1 was altered"),
    "action": ("UPDATE audit SET action = 'other' WHERE sequence = 3", "record 3 was altered"),
    "outcome": ("UPDATE audit SET outcome = 'refused' WHERE sequence = 5", "record 5 was altered"),
    "detail": ("UPDATE audit SET detail = '{}' WHERE sequence = 2", "record 2 was altered"),
    "hash": ("UPDATE audit SET hash = zeroblob(32) WHERE sequence = 3", "record 3 was altered"),
    "sequence": ("UPDATE audit SET sequence = 30 WHERE sequence = 3", "record 3 is missing"),
    "personal": (
        "UPDATE audit SET personal = '{}' WHERE sequence = 2",
        "data of audit record 2 were altered",
    ),
    "salt": (
        "UPDATE audit SET personal_salt = x'00' WHERE sequence = 2",
        "data of audit record 2 were altered",
    ),
    "personal hash": (
        "UPDATE audit SET personal_hash = zeroblob(32) WHERE sequence = 2",
        "record 2 was altered",
    ),
    "personal hash erased": (
        "UPDATE audit SET personal_hash = NULL, personal = NULL, personal_salt = NULL WHERE sequence = 2",
        "record 2 was altered",
    ),
    "personal added": (
        "UPDATE audit SET personal = '{}', personal_salt = x'00' WHERE sequence = 3",
        "data of audit record 3 were altered",
    ),
    "personal brought back": (
        "UPDATE audit SET personal = '{}', personal_salt = x'00' WHERE sequence = 4",
        "data of audit record 4 were altered",
    ),
    "half erased": (
        "UPDATE audit SET personal = NULL WHERE sequence = 2",
        "data of audit record 2 were altered",
    ),
    "salt erased": (
        "UPDATE audit SET personal_salt = NULL WHERE sequence = 2",
        "data of audit record 2 were altered",
    ),
    "at no time": ("UPDATE audit SET at = 'yesterday' WHERE sequence = 3", "record 3 was altered"),
    "at out of range": (
        "UPDATE audit SET at = 4611686018427387904 WHERE sequence = 3",
        "record 3 was altered",
    ),
    "text as octets": ("UPDATE audit SET detail = x'7b7d' WHERE sequence = 3", "record 3 was altered"),
    "hash as text": ("UPDATE audit SET hash = 'none' WHERE sequence = 3", "record 3 was altered"),
    "first removed": ("DELETE FROM audit WHERE sequence = 1", "record 1 is missing"),
    "middle removed": ("DELETE FROM audit WHERE sequence = 3", "record 3 is missing"),
}


@pytest.mark.parametrize(("statement", "message"), ALTERED.values(), ids=list(ALTERED))
async def test_alterations_are_found_and_named(database: Database, statement: str, message: str) -> None:
    with pytest.raises(ChainError, match=message):
        await verify_after(database, statement)


async def test_removing_a_record_and_closing_the_gap_is_found(database: Database) -> None:
    with pytest.raises(ChainError, match="record 2 was altered, moved or replaced"):
        await verify_after(
            database,
            "DELETE FROM audit WHERE sequence = 2",
            "UPDATE audit SET sequence = sequence - 1 WHERE sequence = 3",
            "UPDATE audit SET sequence = sequence - 1 WHERE sequence = 4",
            "UPDATE audit SET sequence = sequence - 1 WHERE sequence = 5",
        )


async def test_swapped_records_are_found(database: Database) -> None:
    with pytest.raises(ChainError, match="record 3 was altered, moved or replaced"):
        await verify_after(
            database,
            "UPDATE audit SET sequence = 99 WHERE sequence = 3",
            "UPDATE audit SET sequence = 3 WHERE sequence = 5",
            "UPDATE audit SET sequence = 5 WHERE sequence = 99",
        )


async def test_an_inserted_record_is_found(database: Database) -> None:
    rest = ", ".join(COLUMNS[1:])
    with pytest.raises(ChainError, match="record 4 was altered, moved or replaced"):
        await verify_after(
            database,
            "UPDATE audit SET sequence = 6 WHERE sequence = 5",
            "UPDATE audit SET sequence = 5 WHERE sequence = 4",
            f"INSERT INTO audit (sequence, {rest}) SELECT 4, {rest} FROM audit WHERE sequence = 3",  # noqa: S608 - columns
        )


async def test_personal_data_can_be_erased(database: Database) -> None:
    head = await head_of(database)
    erased = "UPDATE audit SET personal = NULL, personal_salt = NULL WHERE sequence = 2"
    assert await verify_after(database, erased, head=head) == head


@pytest.mark.parametrize("kept", range(RECORDS))
async def test_a_cut_tail_is_found_with_an_earlier_head(database: Database, kept: int) -> None:
    head = await head_of(database)
    cut = f"DELETE FROM audit WHERE sequence > {kept}"  # noqa: S608 - a number of ours
    assert (await verify_after(database, cut)).sequence == kept  # the chain alone cannot tell
    with pytest.raises(
        ChainError, match=f"ends at record {kept}; the given head is record 5: its tail was cut"
    ):
        await verify_after(database, cut, head=head)


async def test_an_earlier_head_is_still_in_a_chain_that_grew(database: Database) -> None:
    head = await head_of(database)
    await database.write(lambda tx: chain.append(tx, audit.entry(NOW, "tests", "more")))
    assert (await verify_after(database, head=head)).sequence == RECORDS + 1


async def test_a_chain_written_anew_is_found_with_an_earlier_head(database: Database) -> None:
    head = await head_of(database)

    def anew(tx: Transaction) -> None:
        tx.execute("DELETE FROM audit")
        for number in range(RECORDS + 3):
            chain.append(tx, audit.entry(NOW, "somebody", f"harmless-{number}"))

    await database.write(anew)
    assert (await verify_after(database)).sequence == RECORDS + 3
    with pytest.raises(ChainError, match="record 5 is not the one of the given head"):
        await verify_after(database, head=head)


def test_the_empty_chain() -> None:
    empty = Head.of(None)
    assert verify([]) == empty == Head(0, bytes(32).hex())
    assert verify([], empty) == empty


HASH = "ab" * 32
MALFORMED_HEADS = [
    "",
    "no JSON",
    "[]",
    "5",
    "null",
    "{}",
    '{"sequence": 1}',
    f'{{"hash": "{HASH}"}}',
    f'{{"sequence": "1", "hash": "{HASH}"}}',
    f'{{"sequence": true, "hash": "{HASH}"}}',
    f'{{"sequence": 1.0, "hash": "{HASH}"}}',
    f'{{"sequence": -1, "hash": "{HASH}"}}',
    '{"sequence": 1, "hash": "ab"}',
    '{"sequence": 1, "hash": 5}',
    '{"sequence": 1, "hash": "no hexadecimal"}',
    "[" * 100_000,
    f'{{"sequence": {"9" * 5000}, "hash": "{HASH}"}}',
]


@pytest.mark.parametrize("text", MALFORMED_HEADS, ids=range(len(MALFORMED_HEADS)))
def test_a_malformed_head_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="head file"):
        Head.parse(text)


@given(
    st.one_of(st.text(), st.dictionaries(st.sampled_from(["sequence", "hash"]), st.none()).map(json.dumps))
)
def test_only_a_refusal_escapes_from_a_head_of_any_kind(text: str) -> None:
    with pytest.raises(RefusedError):
        Head.parse(text)


def test_a_head_in_capitals_is_the_same_head() -> None:
    assert Head.parse(f'{{"sequence": 1, "hash": "{HASH.upper()}"}}') == Head(1, HASH)


VALUES = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.binary(max_size=40),
)
Value = None | int | float | str | bytes
Row = tuple[Any, ...]


def _altered(database_row: Callable[[], Row | None], update: Callable[[], object]) -> bool:
    before = database_row()
    update()
    return before != database_row()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(1, "at", NOW.timestamp() + 1.5)
@example(1, "personal_hash", b"")
@example(1, "personal_salt", b"")
@example(4, "personal_salt", b"")
@example(2, "personal", b"{}")
@example(2, "personal_hash", "text")
@given(number=st.integers(1, RECORDS), column=st.sampled_from(COLUMNS), value=VALUES)
async def test_any_single_mutation_is_found(
    database: Database, number: int, column: str, value: Value
) -> None:
    """Also of a kind that no program of ours writes there."""
    head = await head_of(database)
    found: list[AuditRecord] = []
    changed: list[bool] = []

    def mutate(tx: Transaction) -> None:
        def row() -> Row | None:
            return tx.one(
                f"SELECT quote({column}), typeof({column}) FROM audit WHERE sequence = ?",  # noqa: S608 - a fixed list
                (number,),
            )

        def update() -> None:
            tx.execute(f"UPDATE audit SET {column} = ? WHERE sequence = ?", (value, number))  # type: ignore[arg-type] # noqa: S608 - mutations have every type

        changed.append(_altered(row, update))
        found.extend(chain.after(tx, 0, 100))
        raise UndoneError

    try:
        await database.write(mutate)
    except (UndoneError, StorageError, OverflowError):
        assume(changed == [True])
    with pytest.raises(ChainError):
        verify(found, head)
