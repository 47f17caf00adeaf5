"""EncryptedKey (RFC 4211 §6.4): a key, certificate or passphrase as it is encrypted."""

from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.encrypted_value import EncryptedValue
from protocols.cmp.tagging import implicit, sequence_under
from protocols.errors import MalformedError

_ENVELOPED_DATA: Final = der.context(0)


@dataclass(frozen=True, slots=True)
class EncryptedKey:
    """The CHOICE as DER: an EnvelopedData under the tag [0], or the deprecated EncryptedValue.

    pvno 3 has the one, pvno 2 the other (RFC 9810 §7).
    """

    der: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an EncryptedKey, without looking at what is inside."""
        if reader.peek() not in (_ENVELOPED_DATA, der.SEQUENCE):
            raise MalformedError("an EncryptedKey is neither EnvelopedData nor EncryptedValue")
        return cls(reader.read_any()[1])

    @classmethod
    def of(cls, enveloped_data: bytes) -> Self:
        """Return the EncryptedKey of a DER EnvelopedData (RFC 5652 §6.1), a SEQUENCE without ContentInfo."""
        return cls(implicit(_ENVELOPED_DATA, enveloped_data))

    @classmethod
    def of_value(cls, encrypted_value: EncryptedValue) -> Self:
        """Return the EncryptedKey of an EncryptedValue."""
        return cls(encrypted_value.encode())

    @property
    def enveloped_data(self) -> bytes | None:
        """The DER EnvelopedData, None where this is an EncryptedValue."""
        return sequence_under(Reader(self.der), _ENVELOPED_DATA) if self.der[0] == _ENVELOPED_DATA else None

    @property
    def encrypted_value(self) -> EncryptedValue | None:
        """The EncryptedValue, None where this is an EnvelopedData; `MalformedError` for what is neither."""
        return None if self.der[0] == _ENVELOPED_DATA else der.whole(self.der, EncryptedValue.parse)
