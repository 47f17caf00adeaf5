"""Signs what a ceremony makes, each once: noted before it is signed and after, and held to that from then on.

What a journal brings is believed only as far as it is what would be made now, under the right key.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from pkiserver.ca.serials import SERIAL_BITS
from pkiserver.ceremony.journal import ALTERED, Journal
from pkiserver.ceremony.keys import CeremonyKeys
from pkiserver.errors import ConflictError
from pkiserver.signer.algorithms import SigningPublicKey, signature_algorithm_for, verify
from pkiserver.signer.errors import SignerError
from protocols.asn1 import der
from protocols.errors import ProtocolError
from protocols.x509.certificate import TBSCertificate

Kind = Literal["certificate", "request", "crl"]
SUFFIXES: Final[Mapping[Kind, str]] = {"certificate": ".cer", "request": ".csr", "crl": ".crl"}


@dataclass(frozen=True, slots=True)
class Product:
    """Something that was signed in a ceremony: `signed` is the part of `der` that the signature is over."""

    kind: Kind
    name: str
    signed: bytes
    der: bytes


class SignedOnce:
    """Signs by the keys of a ceremony as its journal says."""

    def __init__(self, keys: CeremonyKeys, journal: Journal) -> None:
        self._keys = keys
        self._journal = journal

    def sign(
        self, kind: Kind, name: str, key: str, public_key: CertificatePublicKeyTypes, tbs: bytes
    ) -> Product:
        """Return a product: that of the journal, held to what is to be signed, or one signed now."""
        begun, done = self._journal.begun(kind, name), self._journal.done(kind, name)
        if begun is not None and begun != tbs:
            raise ConflictError(f"{kind} {name} was begun otherwise: the program or a file has changed since")
        if begun is None:
            self._journal.begin(kind, name, tbs)
        algorithm = signature_algorithm_for(public_key).der
        if done is not None:
            _check_done(done, tbs, algorithm, self._keys.public_key(key))
            return Product(kind, name, tbs, done)
        signature = self._keys.sign(key, tbs)
        encoded = der.sequence(tbs, algorithm, der.bit_string(signature))
        self._journal.finish(kind, name, encoded)
        return Product(kind, name, tbs, encoded)

    def serial_of(self, name: str) -> int:
        """Return the serial number of a certificate: the one that it was begun with, or a new one."""
        begun = self._journal.begun("certificate", name)
        if begun is None:
            return secrets.randbits(SERIAL_BITS) or 1
        return TBSCertificate.parse(begun).serial_number


def _check_done(done: bytes, tbs: bytes, algorithm: bytes, public_key: SigningPublicKey) -> None:
    """Raise `ConflictError` unless the journal has what this key signed here, and nothing else."""
    try:
        outer = der.Reader(done)
        fields = outer.enter()
        outer.finish()
        found = (fields.read_raw(der.SEQUENCE), fields.read_raw(der.SEQUENCE))
        signature = fields.bit_string()
        fields.finish()
        if found != (tbs, algorithm):
            raise ConflictError(ALTERED)
        verify(public_key, signature, tbs)
    except (ProtocolError, SignerError) as error:
        raise ConflictError(ALTERED) from error
