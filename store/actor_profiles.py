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


def everywhere(tx: Transaction) -> dict[str, str]:
    """Return the limits of all actors that have one, each as its names with commas between them."""
    rows = tx.all(
        "SELECT actor, group_concat(profile, ', ') FROM (SELECT actor, profile FROM actor_profiles"
        " ORDER BY actor, profile) GROUP BY actor"
    )
    return {row[0]: row[1] for row in rows}
