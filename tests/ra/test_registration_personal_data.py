"""Personal data at rest: nothing in clear, nothing moved, found by a keyed hash alone, erasable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiserver.errors import UnavailableError
from pkiserver.ra.registration.personal_data import KEY_OCTETS, PersonalData
from store.database import Database, Transaction

VALUES = {"register_number": "УБ05231418", "civil_id": "123456789012", "phone": "+97699112233"}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "personal-data.key"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "db").mkdir()
    opened = Database(tmp_path / "db" / "test.db")
    yield opened
    opened.close()


async def put(database: Database, data: PersonalData, row: int = 1, subject: str = "people") -> None:
    await database.write(lambda tx: data.put(tx, subject, row, VALUES))


async def test_there_and_back(database: Database, key_file: Path, tmp_path: Path) -> None:
    await put(database, PersonalData(key_file))
    again = PersonalData(key_file)
    assert await database.read(lambda tx: again.read(tx, "people", 1)) == VALUES
    assert await database.read(lambda tx: again.read(tx, "people", 2)) == {}
    written = b"".join(path.read_bytes() for path in (tmp_path / "db").iterdir())
    assert b"register_number" in written
    for value in VALUES.values():
        assert value.encode() not in written
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.read_text().strip().encode() not in written


async def test_found_by_the_very_value_and_by_what_is_searchable_alone(
    database: Database, key_file: Path
) -> None:
    data = PersonalData(key_file)

    async def find(subject: str, field: str, value: str) -> list[int]:
        return await database.read(lambda tx: data.find(tx, subject, field, value))

    assert await find("people", "civil_id", VALUES["civil_id"]) == []  # nothing is kept, there is no key
    assert not key_file.exists()
    await put(database, data, 7)
    await put(database, data, 8, "applications")
    await put(database, data, 9, "applications")
    assert await find("people", "civil_id", VALUES["civil_id"]) == [7]
    assert await find("applications", "civil_id", VALUES["civil_id"]) == [9, 8]
    assert await find("people", "civil_id", VALUES["civil_id"][:-1]) == []
    assert await find("people", "register_number", VALUES["civil_id"]) == []
    assert await find("people", "phone", VALUES["phone"]) == []


async def test_erased(database: Database, key_file: Path) -> None:
    data = PersonalData(key_file)
    await put(database, data)
    assert await database.write(lambda tx: data.erase(tx, "people", 1)) == len(VALUES)
    assert await database.read(lambda tx: data.read(tx, "people", 1)) == {}
    assert await database.read(lambda tx: data.find(tx, "people", "civil_id", VALUES["civil_id"])) == []


@pytest.mark.parametrize("place", ["row = 2", "subject = 'applications'", "field = 'other'"])
async def test_a_value_is_for_its_place_alone(database: Database, key_file: Path, place: str) -> None:
    data = PersonalData(key_file)
    await put(database, data)
    await database.write(
        lambda tx: tx.execute(f"UPDATE personal_data SET {place} WHERE field = 'phone'")  # noqa: S608 - of above
    )

    def read(tx: Transaction) -> None:
        for subject, row in (("people", 1), ("people", 2), ("applications", 1)):
            data.read(tx, subject, row)

    with pytest.raises(UnavailableError, match="altered"):
        await database.read(read)


@pytest.mark.parametrize("octet", [0, 12, -1])
async def test_an_altered_value_is_not_read(database: Database, key_file: Path, octet: int) -> None:
    data = PersonalData(key_file)
    await put(database, data)

    def alter(tx: Transaction) -> None:
        row = tx.one("SELECT sealed FROM personal_data WHERE field = 'phone'")
        assert row is not None
        sealed = bytearray(row[0])
        sealed[octet] ^= 1
        tx.execute("UPDATE personal_data SET sealed = ? WHERE field = 'phone'", (bytes(sealed),))

    await database.write(alter)
    with pytest.raises(UnavailableError, match="altered"):
        await database.read(lambda tx: data.read(tx, "people", 1))


async def test_a_value_twice_is_encrypted_otherwise(database: Database, key_file: Path) -> None:
    data = PersonalData(key_file)
    sealed = []
    for _ in range(2):
        await put(database, data)
        sealed.append(
            await database.read(lambda tx: tx.one("SELECT sealed FROM personal_data WHERE row = 1"))
        )
    assert sealed[0] != sealed[1]


async def test_a_lost_key_is_not_replaced(database: Database, key_file: Path) -> None:
    await put(database, PersonalData(key_file))
    key_file.unlink()
    for work in (
        lambda tx: PersonalData(key_file).put(tx, "people", 2, VALUES),
        lambda tx: PersonalData(key_file).read(tx, "people", 1),
        lambda tx: PersonalData(key_file).find(tx, "people", "civil_id", "1"),
    ):
        with pytest.raises(UnavailableError, match="cannot be read"):
            await database.write(work)
    assert not key_file.exists()


async def test_with_another_key_nothing_is_written(database: Database, key_file: Path) -> None:
    await put(database, PersonalData(key_file))
    key_file.write_text("ab" * KEY_OCTETS)
    with pytest.raises(UnavailableError, match="another key"):
        await put(database, PersonalData(key_file), 2)
    with pytest.raises(UnavailableError, match="altered"):
        await database.read(lambda tx: PersonalData(key_file).read(tx, "people", 1))


@pytest.mark.parametrize("content", ["", "zz" * KEY_OCTETS, "ab" * (KEY_OCTETS - 1)])
async def test_a_key_that_is_none(database: Database, key_file: Path, content: str) -> None:
    key_file.write_text(content)
    with pytest.raises(UnavailableError, match=r"personal-data\.key"):
        await put(database, PersonalData(key_file))
