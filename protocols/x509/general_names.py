"""GeneralNames of subjectAltName (RFC 5280 §4.2.1.6): as an operator types them, and from DER."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from cryptography import x509

from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError
from protocols.x509.addresses import MAX_URI_CHARS, check_dns_name, check_email, check_uri, parse_ip
from protocols.x509.distinguished_names import read_name, subject_text

MAX_GENERAL_NAMES: Final = 128  # a large web server names about 100 hosts
MAX_GENERAL_NAMES_BYTES: Final = 4096  # 100 hosts of 38 characters; to check A-labels takes 0.7 µs an octet
_MAX_SHOWN_CHARS: Final = 60  # enough of a faulty name to find it
_ADDRESS_OCTETS: Final = (4, 16)  # IPv4, IPv6


def _dns(value: str) -> x509.DNSName:
    check_dns_name(value)
    return x509.DNSName(value.lower())  # RFC 4343: case does not matter; one spelling makes names comparable


def _email(value: str) -> x509.RFC822Name:
    check_email(value)
    return x509.RFC822Name(value)


def _ip(value: str) -> x509.IPAddress:
    return x509.IPAddress(parse_ip(value))


def _uri(value: str) -> x509.UniformResourceIdentifier:
    check_uri(value)
    return x509.UniformResourceIdentifier(value)


_BUILDERS: Final[dict[str, Callable[[str], x509.GeneralName]]] = {
    "dns": _dns,
    "email": _email,
    "ip": _ip,
    "uri": _uri,
}


def parse_san(text: str) -> x509.GeneralName:
    """Return the name that `dns:NAME`, `email:ADDRESS`, `ip:ADDRESS` or `uri:URI` stands for.

    Host names become lower case. `MalformedError` quotes what is wrong.
    """
    prefix, colon, value = text.strip().partition(":")
    build = _BUILDERS.get(prefix.lower())
    if build is None or not colon:
        raise MalformedError(f"SAN {_shown(text)} does not start with dns:, email:, ip: or uri:")
    return _built(build, value)


def _built(build: Callable[[str], x509.GeneralName], value: str) -> x509.GeneralName:
    try:
        return build(value)
    except MalformedError as error:
        raise MalformedError(f"SAN {_shown(value)} {error}") from error
    except ValueError as error:
        raise MalformedError(f"SAN {_shown(value)} is not valid") from error


def _shown(text: str) -> str:
    return ascii(text[:_MAX_SHOWN_CHARS])


def san_text(name: x509.GeneralName) -> str:
    """Return a name as `parse_san` takes it; other kinds as `dirname:`, `rid:` or `othername:` for show."""
    match name:
        case x509.DNSName():
            return f"dns:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.IPAddress():
            return f"ip:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"uri:{name.value}"
        case x509.DirectoryName():
            return f"dirname:{subject_text(name.value)}"
        case x509.RegisteredID():
            return f"rid:{name.value.dotted_string}"
        case x509.OtherName():
            return f"othername:{name.type_id.dotted_string};{name.value.hex()}"
    raise MalformedError("unknown kind of general name")


def sans_equal(a: Iterable[x509.GeneralName], b: Iterable[x509.GeneralName]) -> bool:
    """Return whether two subjectAltNames hold the same names (RFC 7030 §4.2.2), in whatever order."""
    return Counter(a) == Counter(b)


def read_general_names(names_der: bytes) -> tuple[x509.GeneralName, ...]:
    """Return the names of a DER GeneralNames, held to the rules of `parse_san`.

    `MalformedError` for an empty list, a bad address, and the kinds x400Address and ediPartyName;
    `TooLargeError` over a bound.
    """
    if len(names_der) > MAX_GENERAL_NAMES_BYTES:
        raise TooLargeError(f"subject alternative names are longer than {MAX_GENERAL_NAMES_BYTES} bytes")
    outer = der.Reader(names_der)
    reader = outer.enter()
    outer.finish()
    names: list[x509.GeneralName] = []
    while not reader.at_end:
        if len(names) == MAX_GENERAL_NAMES:
            raise TooLargeError(f"more than {MAX_GENERAL_NAMES} subject alternative names")
        names.append(_read_general_name(reader))
    if not names:
        raise MalformedError("subjectAltName is empty")
    return tuple(names)


def _read_general_name(reader: der.Reader) -> x509.GeneralName:
    tag = reader.peek()
    read = _READERS.get(tag if tag is not None else -1)
    if read is None:
        raise MalformedError("subjectAltName holds a kind of name that is not supported")
    return read(reader)


def _read_text(
    number: int, build: Callable[[str], x509.GeneralName]
) -> Callable[[der.Reader], x509.GeneralName]:
    tag = der.context(number, constructed=False)

    def read(reader: der.Reader) -> x509.GeneralName:
        content = reader.read(tag)
        if len(content) > MAX_URI_CHARS or not content.isascii():
            raise MalformedError("subjectAltName holds a name that is no IA5String or too long")
        return _built(build, content.decode("ascii"))

    return read


def _read_ip(reader: der.Reader) -> x509.GeneralName:
    content = reader.read(der.context(7, constructed=False))
    if len(content) not in _ADDRESS_OCTETS:
        raise MalformedError("subjectAltName holds an iPAddress that is not of 4 or 16 octets")
    return x509.IPAddress(ipaddress.ip_address(content))


def _read_directory_name(reader: der.Reader) -> x509.GeneralName:
    inner = reader.enter(der.context(4))
    name = read_name(inner.read_raw(der.SEQUENCE))
    inner.finish()
    return x509.DirectoryName(name)


def _read_registered_id(reader: der.Reader) -> x509.GeneralName:
    content = reader.read(der.context(8, constructed=False))
    return x509.RegisteredID(_object_identifier(der.Reader(der.encode(der.OID, content)).oid()))


def _read_other_name(reader: der.Reader) -> x509.GeneralName:
    inner = reader.enter(der.context(0))
    type_id = _object_identifier(inner.oid())
    value = inner.enter(der.context(0))
    _, content = value.read_any()
    value.finish()
    inner.finish()
    return x509.OtherName(type_id, content)


def _object_identifier(dotted: str) -> x509.ObjectIdentifier:
    try:
        return x509.ObjectIdentifier(dotted)
    except ValueError as error:
        raise MalformedError("OBJECT IDENTIFIER is too long") from error


_READERS: Final[dict[int, Callable[[der.Reader], x509.GeneralName]]] = {
    der.context(0): _read_other_name,
    der.context(1, constructed=False): _read_text(1, _email),
    der.context(2, constructed=False): _read_text(2, _dns),
    der.context(4): _read_directory_name,
    der.context(6, constructed=False): _read_text(6, _uri),
    der.context(7, constructed=False): _read_ip,
    der.context(8, constructed=False): _read_registered_id,
}
