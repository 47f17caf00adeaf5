"""Single values about this installation."""

from store.database import Transaction


def get(tx: Transaction, name: str) -> str | None:
    """Return a value, or None."""
    row = tx.one("SELECT value FROM facts WHERE name = ?", (name,))
    return row[0] if row else None


def put(tx: Transaction, name: str, value: str) -> None:
    """Set a value."""
    tx.execute(
        "INSERT INTO facts (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def delete(tx: Transaction, name: str) -> None:
    """Forget the value, if there is one."""
    tx.execute("DELETE FROM facts WHERE name = ?", (name,))
