"""Attributes of a certification request whose values EST and CMC give a meaning to, read from their DER.

challengePassword (RFC 2985 §5.4.1), ChangeSubjectName (RFC 6402 §2.8), and what serverkeygen asks for: the
decrypt-key identifiers (RFC 4108 §2.2.5, RFC 7030 §4.4.1) and SMIMECapabilities (RFC 8551 §2.5.2).
"""

from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.distinguished_names import read_name
from protocols.x509.general_names import read_general_names

MAX_CHALLENGE_PASSWORD_CHARS: Final = 255  # RFC 2985 §5.4.1, ub-challengePassword
MAX_KEY_IDENTIFIER_BYTES: Final = 256  # hashes and names of keys
MAX_CAPABILITIES: Final = 64  # OpenSSL lists about 15

_SUBJECT_ALT: Final = der.context(1)
_T61_STRING: Final = 0x14
_BMP_STRING: Final = 0x1E
_STRING_CODECS: Final = {  # DirectoryString, and the IA5String that some clients write in its place
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
    _T61_STRING: "latin-1",
    _BMP_STRING: "utf-16-be",
}


def parse_challenge_password(reader: Reader) -> str:
    """Read a challengePassword: a text of 1 to 255 characters in any string type."""
    tag = reader.peek()
    codec = _STRING_CODECS.get(tag) if tag is not None else None
    if tag is None or codec is None:
        raise MalformedError("challengePassword is no DirectoryString")
    try:
        text = reader.read(tag).decode(codec)
    except UnicodeDecodeError as error:
        raise MalformedError("challengePassword is not valid text") from error
    if not 1 <= len(text) <= MAX_CHALLENGE_PASSWORD_CHARS:
        raise MalformedError(f"challengePassword is not of 1 to {MAX_CHALLENGE_PASSWORD_CHARS} characters")
    return text


@dataclass(frozen=True, slots=True)
class ChangeSubjectName:
    """The names that a certificate is to have instead of the present ones.

    Without `subject` the new subject is empty; without `san`, (), there is no subjectAltName. One is there.
    """

    subject: x509.Name | None
    san: tuple[x509.GeneralName, ...]

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a ChangeSubjectName: subjectAlt without a tag, as published, or [1], as in erratum 3943."""
        fields = reader.enter()
        subject = None if _starts_general_names(fields) else read_name(fields.read_raw(der.SEQUENCE))
        san: tuple[x509.GeneralName, ...] = ()
        if fields.peek() == _SUBJECT_ALT:
            san = read_general_names(der.encode(der.SEQUENCE, fields.read(_SUBJECT_ALT)))
        elif not fields.at_end:
            san = read_general_names(fields.read_raw(der.SEQUENCE))
        fields.finish()
        return cls(subject, san)


def _starts_general_names(fields: Reader) -> bool:
    """Tell two optional SEQUENCEs apart: a Name holds SETs, or nothing; GeneralNames hold tagged values.

    `MalformedError` where neither is there: one must be (RFC 6402 §2.8).
    """
    match fields.peek():
        case None:
            raise MalformedError("ChangeSubjectName holds neither subject nor subjectAlt (RFC 6402 §2.8)")
        case tag if tag == _SUBJECT_ALT:
            return True
    inside = fields.look().enter().peek()
    return inside not in (None, der.SET)


def parse_key_identifier(reader: Reader) -> bytes:
    """Read a DecryptKeyIdentifier or AsymmetricDecryptKeyIdentifier of 1 to 256 octets."""
    identifier = reader.octet_string()
    if not identifier:
        raise MalformedError("the identifier of the decryption key is empty")
    if len(identifier) > MAX_KEY_IDENTIFIER_BYTES:
        raise TooLargeError(f"the identifier of a key is longer than {MAX_KEY_IDENTIFIER_BYTES} bytes")
    return identifier


@dataclass(frozen=True, slots=True)
class SMIMECapability:
    """An algorithm that the client can work with; `parameters` is DER, None where absent."""

    capability_id: str
    parameters: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SMIMECapability."""
        fields = reader.enter()
        capability = cls(fields.oid(), None if fields.at_end else fields.read_any()[1])
        fields.finish()
        return capability


def parse_smime_capabilities(reader: Reader) -> tuple[SMIMECapability, ...]:
    """Read SMIMECapabilities, in the client's order of preference."""
    return der.repeated(
        reader.enter(), SMIMECapability.parse, at_most=MAX_CAPABILITIES, what="S/MIME capabilities"
    )
