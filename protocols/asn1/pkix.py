"""Types of RFC 5280 that others build on: AlgorithmIdentifier (§4.1.1.2), Extensions (§4.1), Attribute (A.1).

Every `parse` takes a `Reader` that stands before the value, and raises `MalformedError` or `TooLargeError`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError, TooLargeError

MAX_EXTENSIONS: Final = 64  # certificates in use carry up to about 20; a bound on the check for repetition
MAX_ATTRIBUTE_VALUES: Final = 32  # attributes in use have one value, CSR attributes a few OIDs
NULL_PARAMETERS: Final = der.null()


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """An algorithm and its parameters: one DER value as received, or None where absent."""

    oid: str
    parameters: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an AlgorithmIdentifier."""
        fields = reader.enter()
        oid = fields.oid()
        parameters = None if fields.at_end else fields.read_any()[1]
        fields.finish()
        return cls(oid, parameters)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.oid(self.oid), self.parameters or b"")


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension; `value` is the content of extnValue: the DER of the extension's own type."""

    oid: str
    critical: bool
    value: bytes

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an Extension; a FALSE that is written out is not DER (X.690 §11.5)."""
        fields = reader.enter()
        oid = fields.oid()
        critical = fields.peek() == der.BOOLEAN
        if critical and not fields.boolean():
            raise MalformedError("extension writes out the default of critical")
        value = fields.octet_string()
        fields.finish()
        return cls(oid, critical, value)

    def encode(self) -> bytes:
        """Return the DER."""
        critical = der.boolean(True) if self.critical else b""
        return der.sequence(der.oid(self.oid), critical, der.octet_string(self.value))


def parse_extensions(reader: Reader) -> tuple[Extension, ...]:
    """Read Extensions: one or more, each kind once (RFC 5280 §4.2), at most `MAX_EXTENSIONS`."""
    fields = reader.enter()
    extensions: list[Extension] = []
    while not fields.at_end:
        if len(extensions) == MAX_EXTENSIONS:
            raise TooLargeError(f"more than {MAX_EXTENSIONS} extensions")
        extensions.append(Extension.parse(fields))
    if not extensions:
        raise MalformedError("Extensions is empty")
    if len({extension.oid for extension in extensions}) != len(extensions):
        raise MalformedError("an extension is repeated")
    return tuple(extensions)


def encode_extensions(extensions: Iterable[Extension]) -> bytes:
    """Return the DER of Extensions, in the order given."""
    return der.sequence(*(extension.encode() for extension in extensions))


def find_extension(extensions: Iterable[Extension], oid: str) -> Extension | None:
    """Return the extension of this kind, or None."""
    return next((extension for extension in extensions if extension.oid == oid), None)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a request or of a CMS message; `values` holds DER values, and may be empty."""

    attr_type: str
    values: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an Attribute of at most `MAX_ATTRIBUTE_VALUES` values, in whatever order they stand."""
        fields = reader.enter()
        attr_type = fields.oid()
        values = der.repeated(
            fields.enter(der.SET),
            lambda inner: inner.read_any()[1],
            at_most=MAX_ATTRIBUTE_VALUES,
            what="values of an attribute",
        )
        fields.finish()
        return cls(attr_type, values)

    def encode(self) -> bytes:
        """Return the DER, with the values in the order of a SET OF."""
        return der.sequence(der.oid(self.attr_type), der.set_of(self.values))

    def single_value(self) -> bytes:
        """Return the one value; `MalformedError` where there is none or several."""
        if len(self.values) != 1:
            raise MalformedError(f"attribute {self.attr_type} has {len(self.values)} values, not one")
        return self.values[0]


def find_attribute(attributes: Iterable[Attribute], attr_type: str) -> Attribute | None:
    """Return the attribute of this type, or None."""
    return next((attribute for attribute in attributes if attribute.attr_type == attr_type), None)
