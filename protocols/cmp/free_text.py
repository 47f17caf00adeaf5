"""PKIFreeText (RFC 9810 §5.1.1): texts for people, in one or more languages."""

from collections.abc import Iterable
from typing import Final

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError, TooLargeError

MAX_TEXTS: Final = 16  # one for each language that a client may understand
MAX_TEXT_BYTES: Final = 4096  # a text for a log; OpenSSL's longest, with its stack of errors, is under 1 KiB


def parse_utf8(reader: Reader) -> str:
    """Read a UTF8String of at most `MAX_TEXT_BYTES`."""
    octets = reader.read(der.UTF8_STRING)
    if len(octets) > MAX_TEXT_BYTES:
        raise TooLargeError(f"a text is longer than {MAX_TEXT_BYTES} bytes")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a UTF8String is not UTF-8") from error


def parse_free_text(reader: Reader) -> tuple[str, ...]:
    """Read a PKIFreeText: one or more texts, at most `MAX_TEXTS`."""
    texts = der.repeated(reader.enter(), parse_utf8, at_most=MAX_TEXTS, what="texts")
    if not texts:
        raise MalformedError("a PKIFreeText is empty")
    return texts


def optional_free_text(reader: Reader) -> tuple[str, ...]:
    """Read a PKIFreeText where a SEQUENCE is next; () where it is not."""
    return parse_free_text(reader) if reader.peek() == der.SEQUENCE else ()


def encode_free_text(texts: Iterable[str]) -> bytes:
    """Return the DER of a PKIFreeText, and b"" where there is no text."""
    encoded = [der.utf8_string(text) for text in texts]
    return der.sequence(*encoded) if encoded else b""
