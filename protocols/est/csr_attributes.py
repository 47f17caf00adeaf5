"""CsrAttrs, what a server wants of a request (RFC 7030 §4.5.2, RFC 8951 §4, RFC 9908 §3.2): read and written.

`csr_attrs` writes a plain description in both forms: the list of RFC 7030 for clients of old, and the
template of RFC 9908 (`csr_template`), which newer clients follow alone.
"""

from dataclasses import dataclass
from typing import Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute, Extension, encode_extensions, find_attribute
from protocols.errors import MalformedError, TooLargeError
from protocols.est.csr_template import (
    MAX_ATTRIBUTES,
    CertificationRequestInfoTemplate,
    ExtensionTemplate,
    NameTemplate,
    SubjectPublicKeyInfoTemplate,
)

CSR_ATTRS_CONTENT_TYPE: Final = "application/csrattrs"
MAX_CSR_ATTRS_BYTES: Final = 16 * 1024  # no longer than the request it describes

_RSA_EXPONENT: Final = 65537


AttrOrOID = str | Attribute


@dataclass(frozen=True, slots=True)
class CsrAttrs:
    """A whole response: object identifiers, and attributes with values."""

    items: tuple[AttrOrOID, ...] = ()

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Return a DER CsrAttrs; one extensionRequest and one template are in it at most (RFC 9908 §3.2).

        The values of extensionRequest are not read: RFC 7030 gave an example with object identifiers there.
        """
        if len(encoded) > MAX_CSR_ATTRS_BYTES:
            raise TooLargeError(f"CSR attributes are longer than {MAX_CSR_ATTRS_BYTES} bytes")
        attrs = cls(
            der.whole(
                encoded,
                lambda reader: der.repeated(
                    reader.enter(), _parse_attr_or_oid, at_most=MAX_ATTRIBUTES, what="CSR attributes"
                ),
            )
        )
        types = [one.attr_type for one in attrs.items if isinstance(one, Attribute)]
        if any(types.count(single) > 1 for single in _AT_MOST_ONCE):
            raise MalformedError("CSR attributes have an attribute twice (RFC 9908 §3.2)")
        return attrs

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(*(der.oid(one) if isinstance(one, str) else one.encode() for one in self.items))

    def template(self) -> CertificationRequestInfoTemplate | None:
        """Return the template, which a client that knows it must follow alone (RFC 9908 §4), or None."""
        attributes = (one for one in self.items if isinstance(one, Attribute))
        attribute = find_attribute(attributes, oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE)
        if attribute is None:
            return None
        return der.whole(attribute.single_value(), CertificationRequestInfoTemplate.parse)


_AT_MOST_ONCE: Final = (oid.EXTENSION_REQUEST, oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE)


def _parse_attr_or_oid(reader: Reader) -> AttrOrOID:
    return reader.oid() if reader.peek() == der.OID else Attribute.parse(reader)


# ---- From a description


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The key that is wanted: `curve` for id-ecPublicKey, `bits` for rsaEncryption; None leaves it open."""

    algorithm: str
    curve: str | None = None
    bits: int | None = None

    def attribute(self) -> Attribute:
        """Return the attribute of RFC 9908 §3.2, whose values are empty where nothing more is asked."""
        if self.curve is not None:
            return Attribute(self.algorithm, (der.oid(self.curve),))
        return Attribute(self.algorithm, () if self.bits is None else (der.integer(self.bits),))

    def template(self) -> SubjectPublicKeyInfoTemplate:
        """Return the SubjectPublicKeyInfoTemplate; an RSA key's length is shown by a placeholder (§3.4)."""
        if self.bits is None:
            parameters = None if self.curve is None else der.oid(self.curve)
            if self.algorithm == oid.RSA_ENCRYPTION:
                parameters = der.null()
            return SubjectPublicKeyInfoTemplate(AlgorithmIdentifier(self.algorithm, parameters))
        modulus = (1 << (self.bits - 1)) + 1  # no key: a number of the right length
        placeholder = der.sequence(der.integer(modulus), der.integer(_RSA_EXPONENT))
        return SubjectPublicKeyInfoTemplate(AlgorithmIdentifier(self.algorithm, der.null()), placeholder)


@dataclass(frozen=True, slots=True)
class CSRDescription:
    """What a server wants of a request. `subject` None asks for no name; `attributes` are further types.

    `challenge_password` says that identity and possession must be linked by tls-unique (RFC 7030 §3.5).
    """

    challenge_password: bool = False
    key: KeySpec | None = None
    signature_algorithm: str | None = None
    subject: NameTemplate | None = None
    extensions: tuple[ExtensionTemplate, ...] = ()
    attributes: tuple[str, ...] = ()


def csr_attrs(description: CSRDescription, *, template: bool) -> CsrAttrs:
    """Return the description as RFC 7030 writes it, and by `template` as RFC 9908 §3.4 does too.

    In the form of RFC 7030 an extension without value, and an attribute of the subject, is its bare object
    identifier. Nothing wanted gives no items: the server then answers 204.
    """
    items: list[AttrOrOID] = []
    if description.challenge_password:
        items.append(oid.CHALLENGE_PASSWORD)
    if description.key is not None:
        items.append(description.key.attribute())
    filled = tuple(
        Extension(one.oid, one.critical, one.value) for one in description.extensions if one.value is not None
    )
    if filled:
        items.append(Attribute(oid.EXTENSION_REQUEST, (encode_extensions(filled),)))
    names = [attribute.attr_type for rdn in description.subject or () for attribute in rdn]
    open_extensions = [one.oid for one in description.extensions if one.value is None]
    items += dict.fromkeys([*open_extensions, *names, *description.attributes])
    if description.signature_algorithm is not None:
        items.append(description.signature_algorithm)
    if template and (description.subject is not None or description.key or description.extensions):
        encoded = _template(description).encode()
        items.append(Attribute(oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE, (encoded,)))
    return CsrAttrs(tuple(items))


def _template(description: CSRDescription) -> CertificationRequestInfoTemplate:
    extensions = description.extensions
    attributes: tuple[Attribute, ...] = ()
    if extensions:
        is_open = any(one.value is None for one in extensions)
        attr_type = oid.AA_EXTENSION_REQ_TEMPLATE if is_open else oid.EXTENSION_REQUEST
        attributes = (Attribute(attr_type, (der.sequence(*(one.encode() for one in extensions)),)),)
    return CertificationRequestInfoTemplate(
        description.subject, description.key.template() if description.key else None, attributes
    )
