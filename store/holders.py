"""What is asked of a client certificate at every request, in one look-up: its state, and that of its key."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from store.certificates import COLUMNS, record_of
from store.database import Transaction
from store.records import CertificateRecord, serial_to_blob

_IS_UNCONFIRMED: Final = (
    "EXISTS (SELECT 1 FROM issuances i JOIN cmp_requests r ON r.issuance = i.id"
    " JOIN cmp_transactions t ON t.id = r.cmp_transaction"
    " WHERE i.authority = c.authority AND i.serial = c.serial AND t.state = 'unconfirmed')"
)
_KEY_REVOKED: Final = (
    "EXISTS (SELECT 1 FROM certificates k JOIN crl_entries e ON e.authority = k.authority"
    " AND e.serial = k.serial AND e.until IS NULL"
    " WHERE k.spki_sha256 = c.spki_sha256 AND e.reason IN ({}))"
)
_OF_C: Final = ", ".join("c." + name.strip() for name in COLUMNS.split(","))


class Held(NamedTuple):
    """A certificate, whether CMP awaits its confirmation, and whether its key was revoked for a reason."""

    record: CertificateRecord
    is_unconfirmed: bool
    is_key_revoked: bool


def get(tx: Transaction, authority: int, serial: int, reasons: Iterable[int]) -> Held | None:
    """Return the certificate with this issuer and serial, or None.

    `reasons` (RFC 5280 §5.3.1) are those for which a revocation of any certificate of its key counts.
    """
    counting = sorted(reasons)
    row = tx.one(
        f"SELECT {_OF_C}, {_IS_UNCONFIRMED}, {_KEY_REVOKED.format(', '.join('?' * len(counting)))}"
        " FROM certificates c WHERE c.authority = ? AND c.serial = ?",
        (*counting, authority, serial_to_blob(serial)),
    )
    return Held(record_of(row), bool(row[-2]), bool(row[-1])) if row else None
