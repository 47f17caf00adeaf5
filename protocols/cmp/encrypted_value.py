"""EncryptedValue (RFC 4211 §6.4): deprecated, and all that pvno 2 knows (RFC 9810 §5.2.2, §7).

The content key goes by RSAES-PKCS1-v1_5: there is no field for the parameters of another way that clients of
pvno 2 would read. Content keys and initialisation vectors are arguments.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.tagging import bits_under, implicit, sequence_under
from protocols.cms.enveloped_data import cbc_encrypted

_INTENDED_ALG: Final = der.context(0)
_SYMM_ALG: Final = der.context(1)
_ENC_SYMM_KEY: Final = der.context(2, constructed=False)
_KEY_ALG: Final = der.context(3)
_VALUE_HINT: Final = der.context(4, constructed=False)
_RSA: Final = AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """A value, how it is encrypted, and the key that it is encrypted by as the recipient gets it."""

    enc_value: bytes = field(repr=False)
    intended_alg: AlgorithmIdentifier | None = None
    symm_alg: AlgorithmIdentifier | None = None
    enc_symm_key: bytes | None = field(default=None, repr=False)
    key_alg: AlgorithmIdentifier | None = None
    value_hint: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an EncryptedValue, without what is inside."""
        fields = reader.enter()
        intended_alg = _algorithm(fields, _INTENDED_ALG)
        symm_alg = _algorithm(fields, _SYMM_ALG)
        enc_symm_key = bits_under(fields, _ENC_SYMM_KEY) if fields.peek() == _ENC_SYMM_KEY else None
        key_alg = _algorithm(fields, _KEY_ALG)
        value_hint = fields.read(_VALUE_HINT) if fields.peek() == _VALUE_HINT else None
        enc_value = fields.bit_string()
        fields.finish()
        return cls(enc_value, intended_alg, symm_alg, enc_symm_key, key_alg, value_hint)

    def encode(self) -> bytes:
        """Return the DER."""
        hint, symm_key = self.value_hint, self.enc_symm_key
        return der.sequence(
            b"" if self.intended_alg is None else implicit(_INTENDED_ALG, self.intended_alg.encode()),
            b"" if self.symm_alg is None else implicit(_SYMM_ALG, self.symm_alg.encode()),
            b"" if symm_key is None else der.encode(_ENC_SYMM_KEY, b"\x00" + symm_key),
            b"" if self.key_alg is None else implicit(_KEY_ALG, self.key_alg.encode()),
            b"" if hint is None else der.encode(_VALUE_HINT, hint),
            der.bit_string(self.enc_value),
        )


def _algorithm(reader: Reader, tag: int) -> AlgorithmIdentifier | None:
    if reader.peek() != tag:
        return None
    return der.whole(sequence_under(reader, tag), AlgorithmIdentifier.parse)


def encrypted_value(
    content: bytes,
    recipient: RSAPublicKey,
    *,
    cipher: str,
    content_key: bytes,
    initialisation_vector: bytes,
    intended_alg: AlgorithmIdentifier | None = None,
) -> EncryptedValue:
    """Return a content encrypted to who holds an RSA key, padded as PKCS #11 §12.11 has wrapped keys.

    `cipher` is one of `CONTENT_KEY_OCTETS` of `protocols.cms.enveloped_data`. `intended_alg` is that of a
    private key (RFC 4211 §6.4).
    """
    return EncryptedValue(
        cbc_encrypted(content, content_key, initialisation_vector),
        intended_alg=intended_alg,
        symm_alg=AlgorithmIdentifier(cipher, der.octet_string(initialisation_vector)),
        enc_symm_key=recipient.encrypt(content_key, PKCS1v15()),
        key_alg=_RSA,
    )
