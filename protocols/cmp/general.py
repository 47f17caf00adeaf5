"""GenMsgContent and GenRepContent (RFC 9810 §5.3.19, §5.3.20): the values of what is asked and answered.

Both contents are lists of `InfoTypeAndValue`. Who asks sends most types without a value. Lists of
certificates and CRLs are those of `certificates`, texts those of `free_text`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.cert_template import CertTemplate
from protocols.cmp.certificates import parse_certificate
from protocols.cmp.controls import AttributeTypeAndValue, encode_attributes, parse_attributes
from protocols.cmp.general_name import parse_general_name
from protocols.cmp.info_type import InfoTypeAndValue, encode_infos, parse_infos
from protocols.errors import MalformedError

MAX_ALGORITHMS: Final = 64  # an authority certifies a dozen kinds of key
MAX_CRL_STATUSES: Final = 32  # CRLs that one client follows
MAX_NAMES: Final = 16  # of one source of CRLs

_FULL_NAME: Final = der.context(0)
_RELATIVE_NAME: Final = der.context(1)


def parse_general_message(content_der: bytes) -> tuple[InfoTypeAndValue, ...]:
    """Return the elements of a DER GenMsgContent or GenRepContent, which may be empty."""
    return der.whole(content_der, parse_infos)


def build_general_message(infos: Iterable[InfoTypeAndValue]) -> bytes:
    """Return the DER of a GenMsgContent or GenRepContent."""
    return encode_infos(infos)


def parse_algorithms(reader: Reader) -> tuple[AlgorithmIdentifier, ...]:
    """Read the value of signKeyPairTypes or encKeyPairTypes: one or more (§5.3.19.2, §5.3.19.3)."""
    algorithms = der.repeated(
        reader.enter(), AlgorithmIdentifier.parse, at_most=MAX_ALGORITHMS, what="algorithms in a list"
    )
    if not algorithms:
        raise MalformedError("a list of algorithms is empty")
    return algorithms


def encode_algorithms(algorithms: Iterable[AlgorithmIdentifier]) -> bytes:
    """Return the value of signKeyPairTypes or encKeyPairTypes."""
    return der.sequence(*(algorithm.encode() for algorithm in algorithms))


def parse_oids(reader: Reader) -> tuple[str, ...]:
    """Read the value of unsupportedOIDs: one or more (§5.3.19.7)."""
    oids = der.repeated(reader.enter(), Reader.oid, at_most=MAX_ALGORITHMS, what="identifiers in a list")
    if not oids:
        raise MalformedError("a list of identifiers is empty")
    return oids


def encode_oids(oids: Iterable[str]) -> bytes:
    """Return the value of unsupportedOIDs."""
    return der.sequence(*map(der.oid, oids))


@dataclass(frozen=True, slots=True)
class RootCaKeyUpdateContent:
    """A root's new certificate and those that link old and new key (§5.3.19.15); DER certificates."""

    new_with_new: bytes = field(repr=False)
    new_with_old: bytes | None = field(default=None, repr=False)
    old_with_new: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a RootCaKeyUpdateContent."""
        fields = reader.enter()
        update = cls(
            parse_certificate(fields),
            der.optional(fields, 0, parse_certificate),
            der.optional(fields, 1, parse_certificate),
        )
        fields.finish()
        return update

    def encode(self) -> bytes:
        """Return the DER."""
        links = enumerate((self.new_with_old, self.old_with_new))
        return der.sequence(
            self.new_with_new, *(der.explicit(number, link) for number, link in links if link is not None)
        )


@dataclass(frozen=True, slots=True)
class CertReqTemplateContent:
    """What a request must hold (§5.3.19.16); `key_spec` has one control for each kind of key that may be."""

    template: CertTemplate
    key_spec: tuple[AttributeTypeAndValue, ...] = ()

    def __post_init__(self) -> None:
        """Hold what §5.3.19.16 says of the public key."""
        if self.template.public_key is not None:
            raise MalformedError("the template of a request names a public key")

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertReqTemplateContent."""
        fields = reader.enter()
        template = CertTemplate.parse(fields)
        key_spec = () if fields.at_end else parse_attributes(fields)
        fields.finish()
        return cls(template, key_spec)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.template.encode(), encode_attributes(self.key_spec))


def alg_id(algorithm: AlgorithmIdentifier) -> AttributeTypeAndValue:
    """Return the control that names a kind of key other than RSA."""
    return AttributeTypeAndValue(oid.REG_CTRL_ALG_ID, algorithm.encode())


def rsa_key_len(bits: int) -> AttributeTypeAndValue:
    """Return the control that names RSA keys of this length."""
    return AttributeTypeAndValue(oid.REG_CTRL_RSA_KEY_LEN, der.integer(bits))


@dataclass(frozen=True, slots=True)
class CRLSource:
    """Where a CRL is found (§5.3.19.17): one of a distribution point's full name, relative name, and issuer.

    `full_name` and `issuer` are DER GeneralNames, `relative_name` is the content of the RDN.
    """

    full_name: tuple[bytes, ...] = ()
    relative_name: bytes | None = None
    issuer: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CRLSource."""
        if reader.peek() == der.context(1):
            issuer = reader.enter(der.context(1))
            names = _parse_names(issuer, der.SEQUENCE)
            issuer.finish()
            return cls(issuer=names)
        point = reader.enter(der.context(0))
        source = (
            cls(relative_name=point.read(_RELATIVE_NAME))
            if point.peek() == _RELATIVE_NAME
            else cls(full_name=_parse_names(point, _FULL_NAME))
        )
        point.finish()
        return source

    def encode(self) -> bytes:
        """Return the DER."""
        if self.issuer:
            return der.explicit(1, der.sequence(*self.issuer))
        if self.relative_name is not None:
            return der.explicit(0, der.encode(_RELATIVE_NAME, self.relative_name))
        return der.explicit(0, der.encode(_FULL_NAME, b"".join(self.full_name)))


def _parse_names(reader: Reader, tag: int) -> tuple[bytes, ...]:
    names = der.repeated(
        reader.enter(tag), parse_general_name, at_most=MAX_NAMES, what="names of a source of CRLs"
    )
    if not names:
        raise MalformedError("a source of CRLs has no name")
    return names


@dataclass(frozen=True, slots=True)
class CRLStatus:
    """A CRL that is asked for, and the thisUpdate of the one that the client has, None where it has none."""

    source: CRLSource
    this_update: datetime | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CRLStatus."""
        fields = reader.enter()
        source = CRLSource.parse(fields)
        this_update = None if fields.at_end else fields.time()
        fields.finish()
        return cls(source, this_update)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.source.encode(), der.time(self.this_update) if self.this_update else b"")


def parse_crl_statuses(reader: Reader) -> tuple[CRLStatus, ...]:
    """Read the value of crlStatusList: one or more, at most `MAX_CRL_STATUSES`."""
    statuses = der.repeated(reader.enter(), CRLStatus.parse, at_most=MAX_CRL_STATUSES, what="CRLs asked for")
    if not statuses:
        raise MalformedError("crlStatusList is empty")
    return statuses


def encode_crl_statuses(statuses: Iterable[CRLStatus]) -> bytes:
    """Return the value of crlStatusList."""
    return der.sequence(*(status.encode() for status in statuses))
