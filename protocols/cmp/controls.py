"""Controls of a CertRequest (RFC 4211 §6) and of a key specification (RFC 9810 §5.3.19.16): one table.

What is not known is kept aside, for the server to refuse or to pass over.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.cert_template import CertId
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.free_text import parse_utf8
from protocols.cmp.general_name import parse_general_name
from protocols.errors import MalformedError

MAX_CONTROLS: Final = 16  # of one request; RFC 4211 and RFC 9810 define nine
MAX_PUBLICATIONS: Final = 8  # places to publish one certificate in

_ENCRYPTED_PRIV_KEY: Final = der.context(0)
_KEY_GEN_PARAMETERS: Final = der.context(1, constructed=False)
_ARCHIVE_REM_GEN: Final = der.context(2, constructed=False)


@dataclass(frozen=True, slots=True)
class AttributeTypeAndValue:
    """A control, or a piece of regInfo; `value` is one DER value. It may hold secrets, so it is not shown."""

    attr_type: str
    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an AttributeTypeAndValue."""
        fields = reader.enter()
        attribute = cls(fields.oid(), fields.read_any()[1])
        fields.finish()
        return attribute

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.oid(self.attr_type), self.value)


def parse_attributes(reader: Reader) -> tuple[AttributeTypeAndValue, ...]:
    """Read Controls or regInfo: one or more, at most `MAX_CONTROLS`."""
    attributes = der.repeated(
        reader.enter(), AttributeTypeAndValue.parse, at_most=MAX_CONTROLS, what="controls of a request"
    )
    if not attributes:
        raise MalformedError("a list of controls is empty")
    return attributes


def encode_attributes(attributes: Iterable[AttributeTypeAndValue]) -> bytes:
    """Return the SEQUENCE OF these, and b"" where there is none."""
    encoded = [attribute.encode() for attribute in attributes]
    return der.sequence(*encoded) if encoded else b""


class PubMethod(IntEnum):
    """Where to publish (RFC 4211 §6.3)."""

    DONT_CARE = 0
    X500 = 1
    WEB = 2
    LDAP = 3


@dataclass(frozen=True, slots=True)
class SinglePubInfo:
    """One place to publish in; `pub_location` is a DER GeneralName."""

    pub_method: PubMethod
    pub_location: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SinglePubInfo."""
        fields = reader.enter()
        method = fields.integer()
        location = None if fields.at_end else parse_general_name(fields)
        fields.finish()
        if method not in tuple(PubMethod):
            raise MalformedError(f"{method} is no way to publish")
        return cls(PubMethod(method), location)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.integer(self.pub_method), self.pub_location or b"")


@dataclass(frozen=True, slots=True)
class PKIPublicationInfo:
    """Whether the certificate shall be published, and where (RFC 4211 §6.3)."""

    please_publish: bool
    pub_infos: tuple[SinglePubInfo, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIPublicationInfo; pubInfos MUST NOT stand beside dontPublish."""
        fields = reader.enter()
        action = fields.integer()
        pub_infos: tuple[SinglePubInfo, ...] = ()
        if not fields.at_end:
            pub_infos = der.repeated(
                fields.enter(), SinglePubInfo.parse, at_most=MAX_PUBLICATIONS, what="places to publish in"
            )
            if not pub_infos or not action:
                raise MalformedError("pubInfos is empty, or stands beside dontPublish")
        fields.finish()
        if action not in (0, 1):
            raise MalformedError(f"{action} is no action of a PKIPublicationInfo")
        return cls(action == 1, pub_infos)

    def encode(self) -> bytes:
        """Return the DER."""
        infos = der.sequence(*(info.encode() for info in self.pub_infos)) if self.pub_infos else b""
        return der.sequence(der.integer(self.please_publish), infos)


@dataclass(frozen=True, slots=True)
class PKIArchiveOptions:
    """What to archive of the private key (RFC 4211 §6.4): exactly one of the three is there."""

    encrypted_priv_key: EncryptedKey | None = None
    key_gen_parameters: bytes | None = field(default=None, repr=False)
    archive_rem_gen_priv_key: bool | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIArchiveOptions."""
        match reader.peek():
            case tag if tag == _ENCRYPTED_PRIV_KEY:
                return cls(encrypted_priv_key=der.optional(reader, 0, EncryptedKey.parse))
            case tag if tag == _KEY_GEN_PARAMETERS:
                return cls(key_gen_parameters=reader.read(tag))
            case tag if tag == _ARCHIVE_REM_GEN:
                return cls(archive_rem_gen_priv_key=_boolean(reader.read(tag)))
            case _:
                raise MalformedError("PKIArchiveOptions is none of its kinds")

    def encode(self) -> bytes:
        """Return the DER."""
        if self.encrypted_priv_key is not None:
            return der.explicit(0, self.encrypted_priv_key.der)
        if self.key_gen_parameters is not None:
            return der.encode(_KEY_GEN_PARAMETERS, self.key_gen_parameters)
        return der.encode(_ARCHIVE_REM_GEN, b"\xff" if self.archive_rem_gen_priv_key else b"\x00")


def _boolean(content: bytes) -> bool:
    return Reader(der.encode(der.BOOLEAN, content)).boolean()


def _spki(reader: Reader) -> bytes:
    return reader.read_raw(der.SEQUENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestControls:
    """What the controls of a request say; None where one is not there, `unknown` holds all others.

    `protocol_encr_key` is a DER SubjectPublicKeyInfo.
    """

    reg_token: str | None = field(default=None, repr=False)
    authenticator: str | None = field(default=None, repr=False)
    pki_publication_info: PKIPublicationInfo | None = None
    pki_archive_options: PKIArchiveOptions | None = None
    old_cert_id: CertId | None = None
    protocol_encr_key: bytes | None = None
    unknown: tuple[AttributeTypeAndValue, ...] = ()


CONTROLS: Final[dict[str, tuple[str, Callable[[Reader], Any]]]] = {
    oid.REG_CTRL_REG_TOKEN: ("reg_token", parse_utf8),
    oid.REG_CTRL_AUTHENTICATOR: ("authenticator", parse_utf8),
    oid.REG_CTRL_PKI_PUBLICATION_INFO: ("pki_publication_info", PKIPublicationInfo.parse),
    oid.REG_CTRL_PKI_ARCHIVE_OPTIONS: ("pki_archive_options", PKIArchiveOptions.parse),
    oid.REG_CTRL_OLD_CERT_ID: ("old_cert_id", CertId.parse),
    oid.REG_CTRL_PROTOCOL_ENCR_KEY: ("protocol_encr_key", _spki),
}


def read_controls(controls: Iterable[AttributeTypeAndValue]) -> RequestControls:
    """Return what controls say; `MalformedError` where a known one is repeated or not of its type."""
    read: dict[str, Any] = {}
    unknown: list[AttributeTypeAndValue] = []
    for control in controls:
        rule = CONTROLS.get(control.attr_type)
        if rule is None:
            unknown.append(control)
            continue
        name, parse = rule
        if name in read:
            raise MalformedError(f"control {name} is repeated")
        read[name] = der.whole(control.value, parse)
    return RequestControls(**read, unknown=tuple(unknown))
