"""CertificationRequestInfoTemplate, the partly filled-in request that a server sends (RFC 9908 §3.4)."""

from dataclasses import dataclass
from typing import Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import MAX_EXTENSIONS, AlgorithmIdentifier, Attribute, Extension, parse_extensions
from protocols.errors import MalformedError

MAX_ATTRIBUTES: Final = 64  # far over what a server asks for
MAX_RDNS: Final = 32  # as in names (protocols.x509.distinguished_names)

_SUBJECT_PK_INFO: Final = der.context(0)
_ATTRIBUTES: Final = der.context(1)


@dataclass(frozen=True, slots=True)
class ExtensionTemplate:
    """An extension the request is to have; `value` None leaves the value to the client (RFC 9908 §3.4)."""

    oid: str
    critical: bool = False
    value: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an ExtensionTemplate."""
        fields = reader.enter()
        extension_oid = fields.oid()
        critical = fields.peek() == der.BOOLEAN
        if critical and not fields.boolean():
            raise MalformedError("extension writes out the default of critical")
        value = None if fields.at_end else fields.octet_string()
        fields.finish()
        return cls(extension_oid, critical, value)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.oid(self.oid),
            der.boolean(True) if self.critical else b"",
            b"" if self.value is None else der.octet_string(self.value),
        )


@dataclass(frozen=True, slots=True)
class SingleAttributeTemplate:
    """One attribute of the subject; `value` is a DER string, None where the client fills it in."""

    attr_type: str
    value: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SingleAttributeTemplate."""
        fields = reader.enter()
        template = cls(fields.oid(), None if fields.at_end else fields.read_any()[1])
        fields.finish()
        return template

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.oid(self.attr_type), self.value or b"")


NameTemplate = tuple[tuple[SingleAttributeTemplate, ...], ...]  # the RDNs, each of one attribute or more


@dataclass(frozen=True, slots=True)
class SubjectPublicKeyInfoTemplate:
    """The key; `subject_public_key` is a placeholder that shows an RSA key's length, None for other keys."""

    algorithm: AlgorithmIdentifier
    subject_public_key: bytes | None = None

    def content(self) -> bytes:
        """Return the content octets, for the tag that stands before them."""
        key = b"" if self.subject_public_key is None else der.bit_string(self.subject_public_key)
        return self.algorithm.encode() + key


@dataclass(frozen=True, slots=True)
class CertificationRequestInfoTemplate:
    """A partly filled-in request without signature (RFC 9908 §3.4); `subject` None asks for nothing."""

    subject: NameTemplate | None = None
    subject_pk_info: SubjectPublicKeyInfoTemplate | None = None
    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertificationRequestInfoTemplate; extensions stand in one attribute at most."""
        fields = reader.enter()
        if fields.integer() != 0:
            raise MalformedError("the template is not of version 1 (RFC 9908 §3.4)")
        subject = _parse_name_template(fields.enter()) if fields.peek() == der.SEQUENCE else None
        subject_pk_info: SubjectPublicKeyInfoTemplate | None = None
        if fields.peek() == _SUBJECT_PK_INFO:
            spki = fields.enter(_SUBJECT_PK_INFO)
            algorithm = AlgorithmIdentifier.parse(spki)
            subject_pk_info = SubjectPublicKeyInfoTemplate(
                algorithm, None if spki.at_end else spki.bit_string()
            )
            spki.finish()
        attributes = der.repeated(
            fields.enter(_ATTRIBUTES),
            Attribute.parse,
            at_most=MAX_ATTRIBUTES,
            what="attributes of a request",
        )
        fields.finish()
        template = cls(subject, subject_pk_info, attributes)
        template.extensions()
        return template

    def extensions(self) -> tuple[ExtensionTemplate, ...]:
        """Return the extensions asked for by either attribute; `MalformedError` where there are two."""
        of_requests = [one for one in self.attributes if one.attr_type in _EXTENSION_ATTRIBUTES]
        if len(of_requests) > 1:
            raise MalformedError("the template asks for extensions twice (RFC 9908 §3.4)")
        if not of_requests:
            return ()
        value = of_requests[0].single_value()
        if of_requests[0].attr_type == oid.EXTENSION_REQUEST:
            return _templates(der.whole(value, parse_extensions))
        return der.whole(value, _parse_extension_templates)

    def encode(self) -> bytes:
        """Return the DER."""
        subject_pk_info = self.subject_pk_info
        return der.sequence(
            der.integer(0),
            b"" if self.subject is None else _encode_name_template(self.subject),
            b"" if subject_pk_info is None else der.encode(_SUBJECT_PK_INFO, subject_pk_info.content()),
            der.encode(_ATTRIBUTES, b"".join(sorted(one.encode() for one in self.attributes))),
        )


_EXTENSION_ATTRIBUTES: Final = frozenset({oid.EXTENSION_REQUEST, oid.AA_EXTENSION_REQ_TEMPLATE})


def _templates(extensions: tuple[Extension, ...]) -> tuple[ExtensionTemplate, ...]:
    return tuple(ExtensionTemplate(one.oid, one.critical, one.value) for one in extensions)


def _parse_extension_templates(reader: Reader) -> tuple[ExtensionTemplate, ...]:
    extensions = der.repeated(
        reader.enter(), ExtensionTemplate.parse, at_most=MAX_EXTENSIONS, what="extensions"
    )
    if not extensions or len({one.oid for one in extensions}) != len(extensions):
        raise MalformedError("extensions of a template are none, or one is repeated")
    return extensions


def _parse_name_template(rdns: Reader) -> NameTemplate:
    def parse_rdn(reader: Reader) -> tuple[SingleAttributeTemplate, ...]:
        rdn = der.repeated(
            reader.enter(der.SET),
            SingleAttributeTemplate.parse,
            at_most=MAX_RDNS,
            what="attributes in a name",
        )
        if not rdn:
            raise MalformedError("an RDN of a template is empty")
        return rdn

    return der.repeated(rdns, parse_rdn, at_most=MAX_RDNS, what="RDNs")


def _encode_name_template(name: NameTemplate) -> bytes:
    return der.sequence(*(der.set_of(attribute.encode() for attribute in rdn) for rdn in name))
