"""How a certificate gets to its holder: in clear, encrypted to its own key, or beside a key made here."""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pkiserver.ra.cmp.envelopes import sealed, sealed_value, to_key
from protocols import oid
from protocols.cmp.certificates import CertifiedKeyPair
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.x509.spki import PublicKey


@dataclass(frozen=True, slots=True)
class InClear:
    """Possession of the key was proved already."""

    needs_confirmation: bool = False

    async def pair(self, certificate: bytes) -> CertifiedKeyPair:
        """Return what the response holds."""
        return CertifiedKeyPair(certificate)


@dataclass(frozen=True, slots=True)
class ToItsKey:
    """Only who holds the key can read the certificate, and so confirm it (RFC 9810 §5.2.8.3.2)."""

    public_key: PublicKey
    needs_confirmation: bool = True

    async def pair(self, certificate: bytes) -> CertifiedKeyPair:
        """Return what the response holds; the recipient is named by the certificate that is inside."""
        parsed = x509.load_der_x509_certificate(certificate)
        rid = IssuerAndSerialNumber(parsed.issuer.public_bytes(), parsed.serial_number)
        encrypted = await sealed(to_key(self.public_key, rid), oid.PKCS7_DATA, certificate)
        return CertifiedKeyPair(encrypted_cert=encrypted)


@dataclass(frozen=True, slots=True)
class ToItsRSAKey:
    """The same in pvno 2, where it is an EncryptedValue (RFC 4211 §4.2, RFC 9810 §7)."""

    public_key: RSAPublicKey
    needs_confirmation: bool = True

    async def pair(self, certificate: bytes) -> CertifiedKeyPair:
        """Return what the response holds."""
        return CertifiedKeyPair(encrypted_cert=await sealed_value(self.public_key, certificate))


@dataclass(frozen=True, slots=True)
class WithKey:
    """The private key goes with it, and is kept nowhere (RFC 9483 §4.1.6).

    Confirmation says that it arrived: a certificate whose key was lost on the way is revoked in time.
    """

    private_key: EncryptedKey
    needs_confirmation: bool = True

    async def pair(self, certificate: bytes) -> CertifiedKeyPair:
        """Return what the response holds."""
        return CertifiedKeyPair(certificate, private_key=self.private_key)


Delivery = InClear | ToItsKey | ToItsRSAKey | WithKey
IN_CLEAR: Final = InClear()
