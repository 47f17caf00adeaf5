"""What is kept of a certificate's status beside its events: holds that were lifted, and audit records."""

from collections.abc import Sequence

from store import audit
from store.database import Transaction
from store.records import AuditRecord, HoldSpanRecord, from_unix, serial_to_blob


def holds(tx: Transaction, authority: int, serial: int) -> list[HoldSpanRecord]:
    """Return every hold that a certificate ever had, in the order in which they were opened."""
    rows = tx.all(
        "SELECT holder, opened_at, closed_at FROM holds WHERE authority = ? AND serial = ? ORDER BY id",
        (authority, serial_to_blob(serial)),
    )
    return [
        HoldSpanRecord(row[0], from_unix(row[1]), None if row[2] is None else from_unix(row[2]))
        for row in rows
    ]


def set_audit_record(tx: Transaction, sequence: int, record: int) -> None:
    """Note which audit record was written in the commit of a status event."""
    tx.execute("UPDATE status_events SET audit = ? WHERE sequence = ?", (record, sequence))


def audit_records(tx: Transaction, sequences: Sequence[int]) -> dict[int, AuditRecord]:
    """Return the audit record of each status event; one that is missing or was not noted is left out."""
    found = {}
    for sequence in sequences:
        row = tx.one("SELECT audit FROM status_events WHERE sequence = ?", (sequence,))
        if row is not None and row[0] is not None:
            record = audit.get(tx, row[0])
            if record is not None:
                found[sequence] = record
    return found
