"""Lists of officers that were imported, and what became of each of their lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.database import Transaction
from store.records import to_unix


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What became of a line: made, known or refused; `faults` are fields and what is wrong with them."""

    line: int
    outcome: str
    application: int | None
    faults: tuple[tuple[str, str], ...] = ()


def begin(tx: Transaction, *, organization: int, sha256: bytes, by: str, now: datetime) -> int:
    """Return the import of these octets for an organisation, which may have begun before."""
    tx.execute(
        "INSERT INTO imports (organization, sha256, begun_at, begun_by) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (organization, sha256) DO NOTHING",
        (organization, sha256, to_unix(now), by),
    )
    found = find(tx, organization, sha256)
    assert found is not None  # noqa: S101 - it was inserted, or was there
    return found


def find(tx: Transaction, organization: int, sha256: bytes) -> int | None:
    """Return the import of these octets for an organisation, or None."""
    row = tx.one("SELECT id FROM imports WHERE organization = ? AND sha256 = ?", (organization, sha256))
    return row[0] if row else None


def done(tx: Transaction, import_id: int, lines: Sequence[int]) -> dict[int, ImportRow]:
    """Return what was made of these lines, which are in order; those that were refused are not done."""
    rows = tx.all(
        "SELECT line, outcome, application FROM import_rows"
        " WHERE import = ? AND line BETWEEN ? AND ? AND outcome != 'refused'",
        (import_id, lines[0], lines[-1]),
    )
    return {row[0]: ImportRow(*row) for row in rows}


def record(tx: Transaction, import_id: int, row: ImportRow) -> None:
    """Note what became of a line, whatever was noted of it before."""
    faults = [{"field": field, "problem": problem} for field, problem in row.faults]
    tx.execute(
        "INSERT OR REPLACE INTO import_rows (import, line, outcome, application, faults)"
        " VALUES (?, ?, ?, ?, ?)",
        (import_id, row.line, row.outcome, row.application, json.dumps(faults, ensure_ascii=False)),
    )
