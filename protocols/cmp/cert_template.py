"""CertTemplate and CertId (RFC 4211 §5, §6.5): what a certificate shall hold, and which one is meant."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier, Extension, parse_extensions
from protocols.cmp.general_name import directory_name, general_name, parse_general_name
from protocols.cmp.tagging import implicit, sequence_under
from protocols.errors import MalformedError

_ALGORITHM: Final = der.context(2)
_VALIDITY: Final = der.context(4)
_PUBLIC_KEY: Final = der.context(6)
_EXTENSIONS: Final = der.context(9)


@dataclass(frozen=True, slots=True)
class OptionalValidity:
    """The validity that is wished for; at least one of both is there."""

    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read the fields of an OptionalValidity to the end of `reader`."""
        validity = cls(der.optional(reader, 0, Reader.time), der.optional(reader, 1, Reader.time))
        if validity == cls():
            raise MalformedError("the validity of a template is empty")
        return validity

    def encode(self) -> bytes:
        """Return the DER, as a SEQUENCE."""
        times = enumerate((self.not_before, self.not_after))
        return der.sequence(*(der.explicit(number, der.time(time)) for number, time in times if time))


@dataclass(frozen=True, slots=True, kw_only=True)
class CertTemplate:
    """A template; None, or () of `extensions`, is what was left out.

    `issuer` and `subject` are DER Names, `public_key` is a DER SubjectPublicKeyInfo, the unique identifiers
    are contents of BIT STRINGs; none of them is looked into.
    """

    version: int | None = None
    serial_number: int | None = None
    signing_alg: AlgorithmIdentifier | None = None
    issuer: bytes | None = None
    validity: OptionalValidity | None = None
    subject: bytes | None = None
    public_key: bytes | None = field(default=None, repr=False)
    issuer_uid: bytes | None = field(default=None, repr=False)
    subject_uid: bytes | None = field(default=None, repr=False)
    extensions: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertTemplate."""
        return cls.parse_fields(reader.enter())

    @classmethod
    def parse_fields(cls, fields: Reader) -> Self:
        """Read the fields of a CertTemplate to the end of `fields`."""
        read: dict[str, Any] = {}
        last = -1
        while (tag := fields.peek()) is not None:
            rule = _FIELDS.get(tag)
            if rule is None or tag & _NUMBER <= last:
                raise MalformedError("a field of a template is unknown, repeated or out of order")
            last = tag & _NUMBER
            read[rule[0]] = rule[1](fields)
        return cls(**read)

    def encode(self) -> bytes:
        """Return the DER."""
        integers = enumerate((self.version, self.serial_number))
        uids = enumerate((self.issuer_uid, self.subject_uid), 7)
        return der.sequence(
            *(
                _primitive(number, der.integer_content(value))
                for number, value in integers
                if value is not None
            ),
            implicit(_ALGORITHM, self.signing_alg.encode()) if self.signing_alg else b"",
            b"" if self.issuer is None else der.explicit(3, self.issuer),
            implicit(_VALIDITY, self.validity.encode()) if self.validity else b"",
            b"" if self.subject is None else der.explicit(5, self.subject),
            b"" if self.public_key is None else implicit(_PUBLIC_KEY, self.public_key),
            *(_primitive(number, value) for number, value in uids if value is not None),
            implicit(_EXTENSIONS, der.sequence(*(extension.encode() for extension in self.extensions)))
            if self.extensions
            else b"",
        )


def _primitive(number: int, content: bytes) -> bytes:
    return der.encode(der.context(number, constructed=False), content)


def _integer(number: int) -> Callable[[Reader], int]:
    tag = der.context(number, constructed=False)
    return lambda fields: fields.integer(tag)


def _octets(number: int) -> Callable[[Reader], bytes]:
    tag = der.context(number, constructed=False)
    return lambda fields: fields.read(tag)


def _name(number: int) -> Callable[[Reader], bytes]:
    """Read a Name, which is a CHOICE and so under an EXPLICIT tag (X.680 §31.2.7)."""

    def parse(fields: Reader) -> bytes:
        inner = fields.enter(der.context(number))
        name = inner.read_raw(der.SEQUENCE)
        inner.finish()
        return name

    return parse


def _signing_alg(fields: Reader) -> AlgorithmIdentifier:
    return der.whole(sequence_under(fields, _ALGORITHM), AlgorithmIdentifier.parse)


def _validity(fields: Reader) -> OptionalValidity:
    inner = fields.enter(_VALIDITY)
    validity = OptionalValidity.parse(inner)
    inner.finish()
    return validity


def _public_key(fields: Reader) -> bytes:
    return sequence_under(fields, _PUBLIC_KEY)


def _extensions(fields: Reader) -> tuple[Extension, ...]:
    return der.whole(sequence_under(fields, _EXTENSIONS), parse_extensions)


_NUMBER: Final = 0x1F  # of a tag: its number, whether constructed or not
_FIELDS: Final[dict[int, tuple[str, Callable[[Reader], Any]]]] = {
    der.context(0, constructed=False): ("version", _integer(0)),
    der.context(1, constructed=False): ("serial_number", _integer(1)),
    _ALGORITHM: ("signing_alg", _signing_alg),
    der.context(3): ("issuer", _name(3)),
    _VALIDITY: ("validity", _validity),
    der.context(5): ("subject", _name(5)),
    _PUBLIC_KEY: ("public_key", _public_key),
    der.context(7, constructed=False): ("issuer_uid", _octets(7)),
    der.context(8, constructed=False): ("subject_uid", _octets(8)),
    _EXTENSIONS: ("extensions", _extensions),
}


@dataclass(frozen=True, slots=True)
class CertId:
    """A certificate by its issuer, a DER GeneralName, and its serial number."""

    issuer: bytes
    serial_number: int

    @classmethod
    def of(cls, issuer_name: bytes, serial_number: int) -> Self:
        """Return the CertId of a certificate by its issuer's DER Name."""
        return cls(general_name(issuer_name), serial_number)

    @property
    def issuer_name(self) -> bytes | None:
        """The issuer's DER Name, None where it is another kind of GeneralName."""
        return directory_name(self.issuer)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertId."""
        return cls.parse_fields(reader.enter())

    @classmethod
    def parse_fields(cls, fields: Reader) -> Self:
        """Read the fields of a CertId, which are all that `fields` holds."""
        identifier = cls(parse_general_name(fields), fields.integer())
        fields.finish()
        return identifier

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.issuer, der.integer(self.serial_number))
