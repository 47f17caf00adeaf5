"""Certificates of ours that a message names by issuer and serialNumber, as rr (§5.3.9) and oldCertID do."""

from functools import partial
from typing import Final

from pkiserver.ca.authorities import Authorities
from pkiserver.storage import Storage
from protocols.x509.distinguished_names import read_name
from protocols.x509.names import names_equal
from store import certificates
from store.database import Transaction
from store.records import CertificateRecord

MAX_SERIAL_BITS: Final = 127


class NamedCertificates:
    """Finds certificates by name, whatever generation of an authority issued them."""

    def __init__(self, storage: Storage, authorities: Authorities) -> None:
        self._storage = storage
        self._authorities = authorities

    async def find(self, issuer: bytes, serial: int) -> CertificateRecord | None:
        """Return the certificate of an issuer, a DER Name, or None; raises what `read_name` does."""
        name = read_name(issuer)
        if not (serial > 0 and serial.bit_length() <= MAX_SERIAL_BITS):
            return None
        for authority in self._authorities:
            if names_equal(authority.certificate.subject, name):
                read = partial(_certificate, authority.id, serial)
                found = await self._storage.read(read)
                if found is not None:
                    return found
        return None


def _certificate(authority: int, serial: int, tx: Transaction) -> CertificateRecord | None:
    return certificates.get(tx, authority, serial)
