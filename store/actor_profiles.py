"""The profiles that an actor is limited to, by its name; an actor without any is not limited."""

from collections.abc import Iterable

from store.database import Transaction


def of(tx: Transaction, actor: str) -> frozenset[str]:
    """Return the profiles that an actor is limited to, none where it is not limited."""
    return frozenset(row[0] for row in tx.all("SELECT profile FROM actor_profiles WHERE actor = ?", (actor,)))


def replace(tx: Transaction, actor: str, profiles: Iterable[str]) -> None:
    """Limit an actor to these profiles instead of others; to none: it is not limited any more."""
    tx.execute("DELETE FROM actor_profiles WHERE actor = ?", (actor,))
    for profile in sorted(set(profiles)):
        tx.execute("INSERT INTO actor_profiles (actor, profile) VALUES (?, ?)", (actor, profile))
