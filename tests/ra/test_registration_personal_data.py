"""Personal data at rest: nothing in clear, nothing moved, found by a keyed hash alone, erasable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pkiserver.errors import NotFoundError, UnavailableError
from pkiserver.ra.registration.personal_data import KEY_OCTETS, PersonalData
from store import personal_data as rows
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


async def rotate(database: Database, data: PersonalData, batch: int = 2, batches: int = 100) -> bool:
    """Replace the key; False where it was cut short after so many batches."""
    await database.write(data.begin_rotation)
    place = rows.BEGINNING
    for _ in range(batches):
        last, _ = await database.write(lambda tx, at=place: data.reencrypt(tx, at, batch))  # type: ignore[misc]
        if last is None:
            data.end_rotation()
            return True
        place = last
    return False


async def everything(database: Database, data: PersonalData, count: int) -> None:
    """Assert that all is read and found."""
    for row in range(1, count + 1):
        assert await database.read(lambda tx, of=row: data.read(tx, "people", of)) == numbered(row)  # type: ignore[misc]
        found = await database.read(lambda tx, of=row: data.find(tx, "people", "civil_id", str(of)))  # type: ignore[misc]
        assert found == [row]


def numbered(row: int) -> dict[str, str]:
    return {"civil_id": str(row), "phone": f"+{row}"}


async def test_the_key_is_replaced_while_all_goes_on(database: Database, key_file: Path) -> None:
    data = PersonalData(key_file)
    for row in range(1, 6):
        await database.write(lambda tx, of=row: data.put(tx, "people", of, numbered(of)))  # type: ignore[misc]
    old = key_file.read_text()
    before = await database.read(lambda tx: tx.all("SELECT sealed, keyed_hash FROM personal_data"))
    assert not await rotate(database, data, batches=2)
    assert key_file.read_text().split()[1:] == old.split()
    await everything(database, data, 5)
    await everything(database, PersonalData(key_file), 5)  # as after a crash
    await database.write(lambda tx: data.put(tx, "people", 6, numbered(6)))
    resumed = PersonalData(key_file)
    new = key_file.read_text().split()[0]
    assert await rotate(database, resumed)
    assert key_file.read_text().split() == [new]
    assert key_file.stat().st_mode & 0o777 == 0o600
    for opened in (resumed, PersonalData(key_file)):
        await everything(database, opened, 6)
    after = await database.read(lambda tx: tx.all("SELECT sealed, keyed_hash FROM personal_data"))
    assert not {one for row in before for one in row if one} & {one for row in after for one in row if one}
    key_file.write_text(old)
    with pytest.raises(UnavailableError, match="another key"):
        await database.write(lambda tx: PersonalData(key_file).put(tx, "people", 7, numbered(7)))


async def test_a_crash_between_the_file_and_the_store_loses_no_key(
    database: Database, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PersonalData(key_file)
    await database.write(lambda tx: data.put(tx, "people", 1, numbered(1)))

    def crash(tx: Transaction) -> None:
        data.begin_rotation(tx)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(crash)
    again = PersonalData(key_file)
    await everything(database, again, 1)
    await database.write(lambda tx: again.put(tx, "people", 2, numbered(2)))
    assert await rotate(database, again)
    await everything(database, PersonalData(key_file), 2)


async def test_there_is_no_key_to_replace_where_nothing_is_kept(database: Database, key_file: Path) -> None:
    with pytest.raises(NotFoundError, match="no personal data"):
        await database.write(PersonalData(key_file).begin_rotation)
    assert not key_file.exists()
