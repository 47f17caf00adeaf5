"""How far `init` came with a home, by its database; read only."""

from pkiserver.home import Home
from store.authorities import all_authorities
from store.database import read_only
from store.records import AuthorityRecord


def recorded_authorities(home: Home) -> list[AuthorityRecord]:
    """Return the authorities that a home has begun; writes nothing and needs no lock. `StorageError`."""
    return read_only(home.database, all_authorities) or []


def unfinished(home: Home) -> bool:
    """Return whether `init` was cut short: an authority that this home can certify has no certificate.

    Authorities below an offline root are not meant: they wait for it.
    """
    authorities = recorded_authorities(home)
    outside = {record.name for record in authorities if record.key_label is None}
    return not authorities or any(
        record.certificate is None and not outside & {record.name, record.parent} for record in authorities
    )
