"""Rules for the addresses that certificates name: host names, mail addresses, IP addresses and URIs.

Each function raises `MalformedError`, whose message reads on after the address: "… is longer than …".
"""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from protocols.errors import MalformedError

MAX_HOSTNAME_CHARS: Final = 253  # RFC 1035 §2.3.4, without the final dot
MAX_LOCAL_PART_CHARS: Final = 64  # RFC 5321 §4.5.3.1.1
MAX_EMAIL_CHARS: Final = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
MAX_URI_CHARS: Final = 2048  # what clients in use take

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ATOM_CHARS: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM: Final = re.compile(rf"{_ATOM_CHARS}(?:\.{_ATOM_CHARS})*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_A_LABEL_PREFIX: Final = "xn--"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_hostname(name: str) -> None:
    """Check a host name in the preferred syntax (RFC 5280 §4.2.1.6): LDH labels and A-labels (RFC 5890)."""
    if not name.isascii():
        raise MalformedError("is not ASCII: give each international label as its A-label (xn--…)")
    if len(name) > MAX_HOSTNAME_CHARS:
        raise MalformedError(f"is longer than {MAX_HOSTNAME_CHARS} characters")
    labels = name.split(".")
    for label in labels:
        check_label(label)
    if labels[-1].isdigit():
        raise MalformedError("ends in a number, so it is no host name")


def check_label(label: str) -> None:
    """Check one label of a host name, such as a domainComponent holds (RFC 4519 §2.4)."""
    if not _LABEL.fullmatch(label):
        raise MalformedError("has a label that is not 1 to 63 letters, digits and inner hyphens")
    if label[2:4] != "--":
        return
    if label[:4].lower() != _A_LABEL_PREFIX:
        raise MalformedError("has a label with hyphens in the third and fourth place that is no A-label")
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError) as error:
        raise MalformedError("has an A-label that does not decode") from error
    if not decoded or decoded.isascii():
        raise MalformedError("has an A-label that stands for no international label")


def check_dns_name(name: str) -> None:
    """Check a dNSName: a host name, or one whose whole leftmost label is `*` (RFC 6125 §6.4.3)."""
    rest = name.removeprefix("*.")
    if "*" in rest:
        raise MalformedError("has a wildcard that is not the whole leftmost label")
    check_hostname(rest)
    if len(name) > MAX_HOSTNAME_CHARS:
        raise MalformedError(f"is longer than {MAX_HOSTNAME_CHARS} characters")


def check_email(address: str) -> None:
    """Check an rfc822Name: an ASCII Mailbox without quoting (RFC 5280 §4.2.1.6)."""
    local, at, domain = address.rpartition("@")
    if not at or not _DOT_ATOM.fullmatch(local):
        raise MalformedError("is not an ASCII mail address NAME@HOST")
    if len(local) > MAX_LOCAL_PART_CHARS or len(address) > MAX_EMAIL_CHARS:
        raise MalformedError(f"is longer than {MAX_EMAIL_CHARS} characters ({MAX_LOCAL_PART_CHARS} before @)")
    check_hostname(domain)


def check_uri(uri: str) -> None:
    """Check an absolute URI; where it has an authority, that names a host or address (RFC 5280 §4.2.1.6)."""
    if len(uri) > MAX_URI_CHARS:
        raise MalformedError(f"is longer than {MAX_URI_CHARS} characters")
    if not _URI.fullmatch(uri):
        raise MalformedError("is not an absolute URI in ASCII")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise MalformedError("is not a URI") from error
    if parts.username is not None:
        raise MalformedError("names a user")
    if uri[len(parts.scheme) + 1 :].startswith("//"):
        _check_host(host or "")


def _check_host(host: str) -> None:
    if ":" in host or host.replace(".", "").isdigit():
        parse_ip(host)
    else:
        check_hostname(host)


def parse_ip(text: str) -> IPAddress:
    """Return an IPv4 or IPv6 address from its text; no network, no zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise MalformedError("is not an IPv4 or IPv6 address") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise MalformedError("has a zone, which means nothing on another machine")
    return address
