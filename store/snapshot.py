"""A whole database copied while it is written to, and what must hold in a copy before it is used again."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from store.database import Transaction
from store.errors import StorageError

_CHECKS: Final = (  # each finds nothing in a sound database
    (
        "the sequence of status events has a gap",
        "SELECT 1 FROM (SELECT count(*) AS n, max(sequence) AS last FROM status_events) WHERE n != last",
    ),
    (
        "a certificate was issued and is not there",
        (
            "SELECT 1 FROM issuances AS i WHERE state = 'issued' AND NOT EXISTS"
            " (SELECT 1 FROM certificates AS c WHERE c.authority = i.authority AND c.serial = i.serial)"
        ),
    ),
    (
        "a certificate has no status event",
        (
            "SELECT 1 FROM certificates AS c WHERE NOT EXISTS"
            " (SELECT 1 FROM status_events AS e WHERE e.authority = c.authority AND e.serial = c.serial)"
        ),
    ),
)


def copy_database(source: Path, target: Path) -> None:
    """Write one snapshot of the database at `source` to the new file `target`, whoever writes it meanwhile.

    Blocks. The copy is on disk when this returns. `StorageError` where it cannot be made.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as present,
            closing(sqlite3.connect(target)) as copy,
        ):
            copy.execute("PRAGMA synchronous=FULL")
            present.backup(copy)  # all pages in one step: one snapshot, and no writer is held up (WAL)
            copy.execute("PRAGMA journal_mode=DELETE")  # no second file beside the copy: it is not written to
    except sqlite3.Error as error:
        raise StorageError(f"the database cannot be copied: {error}") from error


def check_copy(path: Path) -> None:
    """Raise `StorageError` unless a copy is whole: pages, references, events without gaps, certificates."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            _check_pages(copy)
            for problem, query in _CHECKS:
                if copy.execute(query + " LIMIT 1").fetchone() is not None:
                    raise StorageError(f"the copy of the database is not sound: {problem}")
    except sqlite3.Error as error:
        raise StorageError(f"the copy of the database is damaged: {error}") from error


def _check_pages(copy: sqlite3.Connection) -> None:
    found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageError(f"the copy of the database is damaged: {found}")
    if copy.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise StorageError("the copy of the database is not sound: a reference leads nowhere")


def key_labels(tx: Transaction) -> list[str]:
    """Return the labels of all keys that authorities and OCSP signers need, sorted.

    Those of a generation that was dropped are needed no more, and may have been deleted.
    """
    rows = tx.all(
        "SELECT key_label FROM authorities WHERE key_label IS NOT NULL AND state != 'dropped'"
        " UNION SELECT responders.key_label FROM responders"
        " JOIN authorities ON authorities.id = responders.authority WHERE authorities.state != 'dropped'"
    )
    return sorted(row[0] for row in rows)
