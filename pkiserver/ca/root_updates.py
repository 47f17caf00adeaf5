"""Changes of the root's key: which certificate followed which, and the links between (RFC 9810 §4.4).

Pure: pairs certificates by their keys. Who makes the links is `rollover`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LINK_PROFILE: Final = "root-link"


@dataclass(frozen=True, slots=True)
class RootUpdate:
    """One change of the root's key: OldWithOld, NewWithNew, and the two links where they are in force."""

    old: x509.Certificate
    new: x509.Certificate
    new_with_old: x509.Certificate | None
    old_with_new: x509.Certificate | None

    @property
    def links(self) -> list[bytes]:
        """OldWithNew and NewWithOld in DER, as far as they are in force."""
        found = (self.old_with_new, self.new_with_old)
        return [link.public_bytes(Encoding.DER) for link in found if link is not None]


def root_updates(
    roots: Sequence[x509.Certificate], links: Iterable[x509.Certificate]
) -> Iterator[RootUpdate]:
    """Yield the changes from each root to the next; `links` are all that are in force."""
    known = list(links)
    for old, new in pairwise(roots):
        yield RootUpdate(old, new, _link(known, new, old), _link(known, old, new))


def spki_sha256(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo, by which the store finds certificates of a key."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def _link(
    links: Iterable[x509.Certificate], subject: x509.Certificate, issuer: x509.Certificate
) -> x509.Certificate | None:
    """Return the link that has the key of one root certified by the other."""
    for link in links:
        if link.public_key() == subject.public_key() and _issued(issuer, link):
            return link
    return None


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
