"""Values of people, encrypted by the caller: each has its place, and may be searched by a keyed hash."""

from collections.abc import Mapping

from store.database import Transaction

Place = tuple[str, int, str]  # subject, row and field of a value
BEGINNING: Place = ("", 0, "")  # no value stands here


def put(tx: Transaction, subject: str, row: int, values: Mapping[str, tuple[bytes, bytes | None]]) -> None:
    """Set values of a row by their fields: what is encrypted, and its keyed hash where it is searched by."""
    if not values:
        return
    tx.execute(
        "INSERT INTO personal_data (subject, row, field, sealed, keyed_hash) VALUES"
        f" {', '.join(['(?, ?, ?, ?, ?)'] * len(values))}"
        " ON CONFLICT (subject, row, field) DO UPDATE SET sealed = excluded.sealed,"
        " keyed_hash = excluded.keyed_hash",
        [
            part
            for field, (sealed, keyed_hash) in values.items()
            for part in (subject, row, field, sealed, keyed_hash)
        ],
    )


def of_row(tx: Transaction, subject: str, row: int) -> dict[str, bytes]:
    """Return what is encrypted of a row, by field; empty where nothing was kept, or it was erased."""
    rows = tx.all("SELECT field, sealed FROM personal_data WHERE subject = ? AND row = ?", (subject, row))
    return dict(rows)


def with_hash(tx: Transaction, subject: str, field: str, keyed_hash: bytes, limit: int) -> list[int]:
    """Return the rows that have this value in this field, the newest first."""
    rows = tx.all(
        "SELECT row FROM personal_data WHERE keyed_hash = ? AND subject = ? AND field = ?"
        " ORDER BY row DESC LIMIT ?",
        (keyed_hash, subject, field, limit),
    )
    return [row[0] for row in rows]


def remove(tx: Transaction, subject: str, row: int, field: str) -> None:
    """Remove one value of a row."""
    tx.execute("DELETE FROM personal_data WHERE subject = ? AND row = ? AND field = ?", (subject, row, field))


def erase(tx: Transaction, subject: str, row: int) -> int:
    """Remove every value of a row, with what it is searched by; return how many there were."""
    return tx.execute("DELETE FROM personal_data WHERE subject = ? AND row = ?", (subject, row))


def behind(tx: Transaction, after: Place, limit: int) -> list[tuple[Place, bytes]]:
    """Return values behind a place, in the order of their places."""
    rows = tx.all(
        "SELECT subject, row, field, sealed FROM personal_data WHERE (subject, row, field) > (?, ?, ?)"
        " ORDER BY subject, row, field LIMIT ?",
        (*after, limit),
    )
    return [((row[0], row[1], row[2]), row[3]) for row in rows]


def count(tx: Transaction) -> int:
    """Return how many values are kept; takes a tenth of a second a million."""
    row = tx.one("SELECT count(*) FROM personal_data")
    return int(row[0]) if row else 0
